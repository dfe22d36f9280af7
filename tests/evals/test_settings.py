"""Settings of an evaluation: which are its own, which are refused, and which must be equal to continue."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.config import files
from loadstone.errors import UsageError
from loadstone.evals.settings import RETRIES, Eval, differing_settings, from_mapping, parse_fields


def one(**fields: Any) -> Eval:
    (made,) = from_mapping({"tasks": "gsm8k", **fields}, "the command line")
    return made.check()


def test_settings_of_the_load_stand_beside_those_of_the_evaluation() -> None:
    made = one(**{"concurrency": 4, "num-fewshot": 2, "data-dir": "bundled", "max-error-rate": 0.1})
    assert (made.load.concurrency, made.load.max_error_rate) == (4, 0.1)
    assert (made.tasks, made.num_fewshot, made.data) == (["gsm8k"], 2, "bundled")
    assert made.load.retries == RETRIES
    assert one(load={"concurrency": 2}).load.concurrency == 2


def test_flags_that_shape_answers_go_into_the_bodies_of_generations() -> None:
    made = one(temperature=0.6, output_len=99, sampling_seed=5, stop=["\n"], gen={"top_k": 3, "max_gen_toks": 7})
    assert made.gen == {"temperature": 0.6, "max_tokens": 7, "seed": 5, "stop": ["\n"], "top_k": 3}
    assert made.load.temperature is made.load.output_len is made.load.stop is None
    assert made.check() == made


def test_the_api_is_left_open_unless_it_is_said() -> None:
    assert one().api is None
    assert one(api="chat").api == "chat"
    assert (one(api="completions").api, one(api="completions").load.api) == ("completions", "completions")
    assert one(provider="anthropic").api == "messages"


def test_several_models_are_several_evaluations() -> None:
    made = from_mapping({"tasks": ["a"], "model": ["x", "y"]}, "eval.toml")
    assert [each.load.model for each in made] == ["x", "y"]


def test_doc_ids_are_json_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text('{"gsm8k": [3]}')
    (tmp_path / "ids").write_text('{"gsm8k": [4]}')
    found = [one(samples=said).samples for said in ('{"gsm8k": [0, 7]}', f"{tmp_path}/ids.json", f"{tmp_path}/ids")]
    assert found == [{"gsm8k": [0, 7]}, {"gsm8k": [3]}, {"gsm8k": [4]}]


@dataclass
class Wrong:
    says: str
    fields: dict[str, Any] = field(default_factory=dict)


WRONG = [
    Wrong("`eval` has no setting 'modell' (did you mean model?); see loadstone eval --help", {"modell": "x"}),
    Wrong("`eval` has no setting 'num-fewshots' (did you mean num-fewshot?); see", {"num_fewshots": 1}),
    Wrong("`eval` has no setting 'requests' (use limit; or samples); ", {"requests": 5}),
    Wrong("`eval` has no setting 'duration' (an evaluation ends when all items", {"duration": 5}),
    Wrong("`eval` has no setting 'choices'", {"choices": 5}),
    Wrong("--tasks takes names of tasks", {"tasks": []}),
    Wrong("--limit takes a number of items, or a share below 1, not 1.5", {"limit": 1.5}),
    Wrong("--repeat takes 1 or more, not 0", {"repeat": 0}),
    Wrong("--price-in takes 0 or more, not -1", {"price_in": -1}),
    Wrong("--limit and --samples exclude each other", {"limit": 1, "samples": {"gsm8k": [1]}}),
    Wrong("--stage score needs the evaluation: give its folder with -o", {"stage": "score"}),
    Wrong("--dry-run shows what would be asked", {"stage": "score", "dry_run": True, "output": "x"}),
    Wrong("--predict-only scores nothing", {"stage": "score", "predict_only": True, "output": "x"}),
    Wrong("--gen n: give --repeat for several answers", {"gen": {"n": 4}}),
    Wrong("--extra-body n: give --repeat for several answers", {"extra_body": {"n": 4}}),
    Wrong("--gen messages: that is what the tasks ask", {"gen": {"messages": []}}),
    Wrong("--model takes one model each time", {"model": "base=3,lora=1"}),
    Wrong("the command line: each --model is given once", {"model": ["x", "x"]}),
    Wrong("--output-len takes a whole number, not 'normal(3,1)'", {"output_len": "normal(3,1)"}),
    Wrong("--cache knows answers by the server's address", {"cache": "kept", "model": "mine.py:Model"}),
    Wrong("--arrivals replay is for traces", {"arrivals": "replay"}),
    Wrong("--num-fewshot takes a whole number, not 'many'", {"num_fewshot": "many"}),
    Wrong("--samples {nonsense is not JSON", {"samples": "{nonsense"}),
    Wrong("--samples takes '{\"gsm8k\": [0, 7]}' or a file with that", {"samples": "no-such-file"}),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.says[:40])
def test_what_makes_no_sense_is_refused(wrong: Wrong) -> None:
    with pytest.raises(UsageError) as refusal:
        one(**wrong.fields)
    assert wrong.says in str(refusal.value)


def test_without_tasks_it_is_said_how_to_name_them() -> None:
    with pytest.raises(UsageError, match=r"eval\.toml names no tasks: give --tasks gsm8k,mmlu"):
        from_mapping({"concurrency": 3}, "eval.toml")


def _shown(made: Eval) -> dict[str, Any]:
    return json.loads(json.dumps(msgspec.to_builtins(made.shown())))  # type: ignore[no-any-return]


def test_going_on_takes_the_same_questions_of_the_same_model() -> None:
    before = _shown(one(temperature=0.5, url="http://a", model="m", concurrency=8))
    same = one(temperature=0.5, url="http://a", model="m", concurrency=2, limit=9, repeat=3, retries=0, price_in=1)
    assert differing_settings(before, _shown(same)) == []
    other = one(url="http://b", model="m", num_fewshot=1, **{"data-dir": "bundled"})
    assert differing_settings(before, _shown(other)) == ["data-dir", "num-fewshot", "gen", "url"]
    scored = one(temperature=0.5, stage="score", output="x")
    assert differing_settings(before, _shown(scored)) == []


def test_keys_are_not_written_down() -> None:
    made = Eval(
        tasks=["gsm8k"],
        header={"Authorization": "Bearer sk-secret"},
        url="http://me:sk-secret@host",
        gen={"user_token": "sk-secret"},
    ).check()
    assert "sk-secret" not in json.dumps(_shown(made))


def test_yaml_toml_and_json_say_the_same(tmp_path: Path) -> None:
    texts = {
        "a.yaml": "tasks: [gsm8k, 'qa:mine.jsonl']\ngen: {temperature: 0.6, stop: [\"\\n\"]}\n",
        "a.toml": 'tasks = ["gsm8k", "qa:mine.jsonl"]\n[gen]\ntemperature = 0.6\nstop = ["\\n"]\n',
        "a.json": '{"tasks": ["gsm8k", "qa:mine.jsonl"], "gen": {"temperature": 0.6, "stop": ["\\n"]}}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = [files.read(tmp_path / name) for name in texts]
    assert found == [{"tasks": ["gsm8k", "qa:mine.jsonl"], "gen": {"temperature": 0.6, "stop": ["\n"]}}] * 3


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "tasks: [gsm8k", "--config PATH is not YAML: while parsing a flow sequence"),
        ("a.toml", "tasks", "--config PATH is not TOML"),
        ("a.yaml", "- gsm8k", "--config PATH holds no settings: write NAME: VALUE on each line"),
        ("a.yaml", "1: 2", "--config PATH holds no settings"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError) as refusal:
        files.read(path)
    assert says.replace("PATH", str(path)) in str(refusal.value)


def test_fields_are_typed_as_for_lm_eval() -> None:
    typed = 'temperature=0.6,max_gen_toks=32,do_sample=true,until=["Q:",","],name=x y,seed=None,id="7"'
    assert parse_fields(typed) == {
        "temperature": 0.6, "max_gen_toks": 32, "do_sample": True, "until": ["Q:", ","], "name": "x y", "seed": None,
        "id": "7",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"samples": {"gsm8k": "x"}}, '--samples takes doc_ids by task such as {"gsm8k": \\[0, 7\\]}, not'),
        ({"samples": {"gsm8k": []}}, "--samples asks no item of gsm8k: give it doc_ids"),
        ({"target": {"mmlu": "high"}}, "--target takes official scores such as mmlu=68.9, not \"{'mmlu': 'high'}\""),
        ({"limit": "many"}, "--limit takes a number, not 'many'"),
        ({"tasks": 5}, "--tasks takes names of tasks such as gsm8k,mmlu, not '5'"),
        ({"allow-code-execution": "x"}, "--allow-code-execution takes on or off, not 'x'"),
        ({"gen": {"max_gen_toks": "abc"}}, r"--output-len \(max_tokens\) takes a number of tokens, not abc"),
        ({"output-len": 0}, "--output-len takes 1 or more, not 0"),
        ({"temperature": -1}, "--temperature takes 0 or more, not -1"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_that_names_its_flag(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        from_mapping({"tasks": "gsm8k", **fields}, "here")[0].check()
