"""Requests and scores of lm-eval's tasks, with stubs of its objects; with lm-eval itself if it is installed.

tests/bench/likelihoods.py holds the numbers against lm-eval's own on a real server.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadstone.errors import UsageError
from loadstone.evals.lm_eval import harness
from loadstone.evals.lm_eval.tasks import LmEvalTask
from loadstone.evals.output.lm_eval_samples import sample_lines
from loadstone.evals.requests import task_run
from loadstone.evals.requests.capabilities import ServerCapabilities
from loadstone.evals.requests.eval_request import AnswerMode, LogprobMethod
from loadstone.evals.requests.mode import choose
from loadstone.evals.scoring import aggregate
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.evals.settings import Eval
from loadstone.samples import ItemResponses, Score
from loadstone.tasks.catalogue import Selection

DOCS = [{"q": "2 + 2?", "choices": ["three", "four"], "gold": 1}, {"q": "Sky?", "choices": ["blue", "red"], "gold": 0}]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def weighted(values: list[tuple[float, float]]) -> float:
    return math.exp(-sum(one for one, _ in values) / sum(count for _, count in values))


class Ensemble:
    """A filter of lm-eval's: of each instance, what it makes of its responses."""

    def __init__(self, name: str, read: Any) -> None:
        self.name, self._read = name, read

    def apply(self, instances: Any) -> None:
        for instance in instances:
            instance.filtered_resps[self.name] = self._read(instance.resps)


class Stub:
    """A task as lm-eval's are, as far as they are looked at."""

    def __init__(self, kind: str, repeats: int = 1, **config: Any) -> None:
        self.OUTPUT_TYPE = kind
        told = {"repeats": repeats, "num_fewshot": None, "task_alias": None, "metadata": {"version": "1.0"}}
        told |= dict.fromkeys(("dataset_path", "dataset_name", "test_split", "validation_split", "fewshot_split"))
        told |= {"generation_kwargs": {"until": ["\n"], "max_gen_toks": 16, "do_sample": False}}
        self.config = SimpleNamespace(**{**told, **config})
        self.eval_docs = DOCS
        self.asked: dict[str, Any] = {}
        first = Ensemble("first", lambda resps: resps[0])
        self._filters = [first, Ensemble("last word", lambda resps: resps[0].split()[-1])]
        if kind != "generate_until":
            self._filters = [Ensemble("none", lambda resps: resps[0])]

    def get_config(self, key: str) -> Any:
        return getattr(self.config, key)

    def set_config(self, key: str, value: Any) -> None:
        setattr(self.config, key, value)

    def set_fewshot_seed(self, seed: int) -> None:
        self.asked["seed"] = seed

    def dump_config(self) -> dict[str, Any]:
        return {"task": "stub", "doc_to_text": len}

    def doc_to_target(self, doc: Any) -> Any:
        return doc["gold"]

    def doc_to_text(self, doc: Any) -> str:
        return str(doc["q"])

    def aggregation(self) -> dict[str, Any]:
        return (
            {"perplexity": weighted} if self.OUTPUT_TYPE == "loglikelihood_rolling" else {"acc": mean, "ppl": weighted}
        )

    def build_all_requests(self, *, limit: Any, samples: Any, chat_template: Any, **rest: Any) -> None:
        self.asked |= {"limit": limit, "samples": samples, **rest}
        picked = [DOCS[number] for number in samples] if samples else DOCS[:limit]
        self.instances = [
            one for number, doc in enumerate(picked) for one in self._instances(number, doc, chat_template)
        ]

    def _instances(self, number: int, doc: Any, template: Any) -> list[Any]:
        context = template([{"role": "user", "content": doc["q"]}]) if template else doc["q"]
        arguments: dict[str, list[Any]] = {
            "multiple_choice": [(context, f" {choice}") for choice in doc["choices"]],
            "generate_until": [(context, self.config.generation_kwargs)],
            "loglikelihood_rolling": [(doc["q"],)],
        }
        kind = "loglikelihood" if self.OUTPUT_TYPE == "multiple_choice" else self.OUTPUT_TYPE
        return [
            SimpleNamespace(request_type=kind, doc=doc, doc_id=number, idx=at, args=args, resps=[], filtered_resps={})
            for at, args in reversed(list(enumerate(arguments[self.OUTPUT_TYPE])))
        ]

    def process_results(self, doc: Any, results: Any) -> dict[str, Any]:
        if self.OUTPUT_TYPE == "loglikelihood_rolling":
            return {"perplexity": (results[0], len(doc["q"].split()))}
        if self.OUTPUT_TYPE == "generate_until":
            if "boom" in results[0]:
                raise ValueError("boom")
            return {"acc": results[0] == doc["choices"][doc["gold"]]}
        values = [value for value, _ in results]
        return {"acc": float(values.index(max(values)) == doc["gold"]), "ppl": (max(values), 1)}


def answered(doc_id: int, *responses: Any, finish: str | None = None) -> ItemResponses:
    lanes = [one if isinstance(one, list) else [one] for one in responses]
    return ItemResponses(
        task="stub",
        doc_id=doc_id,
        doc=DOCS[doc_id],
        target="",
        arguments=[("q", "a")] * len(lanes),
        responses=lanes,
        finishes=[[finish] * len(lane) for lane in lanes],
    )


ECHO = AnswerMode("loglikelihood", "completions", LogprobMethod("echo"))
CHAT = AnswerMode("generation", "chat")
TEXT = AnswerMode("generation", "completions")


def test_a_choice_is_asked_as_lm_eval_puts_it() -> None:
    stub = Stub("multiple_choice")
    lm_eval_task = LmEvalTask("stub", stub)
    items = lm_eval_task.items(Eval(tasks=["stub"], limit=0.5, num_fewshot=3), ECHO)
    ((first, second),) = [item.requests for item in items]
    assert (str(first[0].id), first[0].prompt, first[0].continuation) == ("stub:0/0", "2 + 2?", " three")
    assert (str(second[0].id), second[0].continuation) == ("stub:0/1", " four")
    assert (stub.asked["limit"], stub.asked["seed"], stub.config.num_fewshot, lm_eval_task.shots) == (1, 1234, 3, 3)
    assert items[0].sample.target == "1"


def test_messages_are_left_to_the_servers_template() -> None:
    (item, _) = LmEvalTask("stub", Stub("multiple_choice")).items(Eval(tasks=["stub"], system="Be brief."), CHAT)
    assert item.requests[0][0].prompt == [{"role": "user", "content": "2 + 2?"}]


def test_settings_of_a_generation() -> None:
    lm_eval_task = LmEvalTask("stub", Stub("generate_until"))
    (item, _) = lm_eval_task.items(Eval(tasks=["stub"], gen={"temperature": 0.5}, repeat=2), TEXT)
    expected = {"max_tokens": 16, "temperature": 0.5, "stop": ["\n"]}
    assert [one.settings for one in item.requests[0]] == [{**expected, "seed": 1234}, {**expected, "seed": 1235}]
    assert [str(one.id) for one in item.requests[0]] == ["stub:0/0", "stub:0/0#1"]
    assert lm_eval_task.settings({}) == {"max_tokens": 16, "temperature": 0.0, "stop": ["\n"]}
    plain = LmEvalTask("stub", Stub("generate_until", generation_kwargs={"until": "."}))
    assert plain.settings({}) == {"max_tokens": 256, "temperature": 0.0, "stop": ["."]}


def test_doc_ids_are_those_of_the_split() -> None:
    lm_eval_task = LmEvalTask("stub", Stub("multiple_choice"))
    assert [item.sample.doc_id for item in lm_eval_task.items(Eval(tasks=["stub"], samples={"stub": [1]}), ECHO)] == [1]
    with pytest.raises(UsageError, match="--samples asks stub for 2, but its doc_ids are 0 to 1"):
        lm_eval_task.items(Eval(tasks=["stub"], samples={"stub": [2]}), ECHO)
    with pytest.raises(UsageError, match="measures a whole text, which no chat can: say --api completions"):
        LmEvalTask("stub", Stub("loglikelihood_rolling")).items(Eval(tasks=["stub"]), CHAT)


def judged(lm_eval_task: LmEvalTask, *each: ItemResponses) -> list[list[Score]]:
    lm_eval_task.items(Eval(tasks=["stub"]), ECHO)
    return [lm_eval_task.scorer.score_item(one) for one in each]


def test_choices_are_judged_by_lm_eval() -> None:
    lm_eval_task = LmEvalTask("stub", Stub("multiple_choice"))
    (right,), (wrong,) = judged(
        lm_eval_task, answered(0, (-9.0, False), (-2.0, True)), answered(1, (-3.0, False), (-1.0, True))
    )
    assert (right.outcome, right.extracted, right.metrics) == ("right", 1, {"acc": 1.0})
    assert (wrong.outcome, wrong.extracted, wrong.metrics) == ("wrong", 1, {"acc": 0.0})


def test_a_failed_request_is_not_given_to_lm_eval() -> None:
    lm_eval_task = LmEvalTask("stub", Stub("multiple_choice"))
    told = aggregate.TaskTally(TaskSetup(task=lm_eval_task.spec, mode="loglikelihood").info)
    for scores in judged(lm_eval_task, answered(0, (-9.0, False), (-2.0, True)), answered(1, (-3.0, False), None)):
        told.add(scores)
    found = lm_eval_task.scorer.add_figures(told.result())
    assert {figure.metric: figure.all.value for figure in found.figures} == {"acc": 0.5, "ppl": math.exp(2.0)}
    assert found.figures[0].outcomes["failed"] == 1
    assert found.notes == {"items that failed are left out of what lm-eval aggregates": 1}


def test_words_go_through_each_filter() -> None:
    lm_eval_task = LmEvalTask("stub", Stub("generate_until"))
    (whole, last), (boom, _) = judged(lm_eval_task, answered(0, "it is four", finish="length"), answered(1, "boom"))
    assert (whole.filter, whole.outcome, last.filter, last.outcome) == ("first", "truncated", "last word", "right")
    assert last.extracted == "four"
    assert (boom.outcome, boom.note, boom.metrics) == ("unparsed", "ValueError: boom", {"acc": 0.0})


def test_passes_are_judged_apart_unless_the_task_makes_one_of_them() -> None:
    apart = LmEvalTask("stub", Stub("generate_until"))
    together = LmEvalTask("stub", Stub("generate_until", repeats=2))
    (scores,) = judged(apart, answered(0, ["four", "five"]))
    assert [(score.attempt, score.outcome) for score in scores if score.filter == "first"] == [
        (0, "right"),
        (1, "wrong"),
    ]
    (scores,) = judged(together, answered(0, ["four", "five"]))
    assert [(score.attempt, score.outcome) for score in scores if score.filter == "first"] == [(0, "right")]
    assert [len(item.requests[0]) for item in together.items(Eval(tasks=["stub"]), ECHO)] == [2, 2]


def test_a_perplexity_is_of_all_items() -> None:
    lm_eval_task = LmEvalTask("stub", Stub("loglikelihood_rolling"))
    told = aggregate.TaskTally(TaskSetup(task=lm_eval_task.spec, mode="loglikelihood").info)
    for scores in judged(lm_eval_task, answered(0, (-6.0, False)), answered(1, (-2.0, False))):
        assert scores == []
        told.add(scores, passes=1)
    (figure,) = lm_eval_task.scorer.add_figures(told.result()).figures
    assert (figure.metric, figure.all.value, figure.all.n) == ("perplexity", pytest.approx(math.exp(8 / 4)), 2)


def test_the_requests_of_a_task_are_built_like_any_other() -> None:
    lm_eval_task = LmEvalTask("stub", Stub("multiple_choice"))
    assert lm_eval_task.spec.modes == ["loglikelihood"]
    built = task_run.build_task_run(
        lm_eval_task.spec,
        AnswerMode("loglikelihood", "completions", LogprobMethod("echo")),
        Eval(tasks=["lm-eval:stub"]),
    )
    assert [str(one.id) for one in built.requests()] == ["stub:0/0", "stub:0/1", "stub:1/0", "stub:1/1"]
    setup = TaskSetup.of(built)
    assert (setup.template, setup.lm_eval_config, setup.info.headline) == (
        "lm-eval:stub",
        lm_eval_task.config,
        ("acc", "none"),
    )
    one = answered(0, (-9.0, False), (-2.0, True))
    assert setup.score_item is not None
    (line,) = sample_lines(setup, one, setup.score_item(one))
    assert (line["acc"], line["filter"], line["metrics"]) == (1.0, "none", ["acc"])
    json.dumps(setup.lm_eval_config)


def test_it_is_put_as_a_text_unless_a_chat_is_asked_for() -> None:
    spec = LmEvalTask("stub", Stub("generate_until")).spec
    both = ServerCapabilities(chat=True, completions=True)
    assert choose(spec, "auto", None, both).api == "completions"
    assert choose(spec, "auto", "chat", both).api == "chat"
    assert choose(spec, "auto", None, ServerCapabilities(chat=True)).api == "chat"


installed = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-eval is installed")
def test_without_lm_eval_it_is_said_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"pip install 'loadstone\[lm-eval\]'"):
        harness.add_tasks(Selection([], [], ["arc_easy"]))


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="--tasks lm-eval:nowhere/mine: there is no folder nowhere"):
        harness.load_tasks(["nowhere/mine"])
    assert harness.add_tasks(Selection([], [])) == Selection([], [])


FOLDERS = [
    (["arc_easy", "gsm8k"], None, {None: ["arc_easy", "gsm8k"]}),
    (["./mine", "./other.yaml"], None, {".": ["mine", "other"]}),
    (["mine", "FOLDER/my.task"], "FOLDER", {"FOLDER": ["mine", "my.task"]}),
]


@pytest.mark.parametrize(("names", "include_path", "folders"), FOLDERS)
def test_where_the_tasks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], include_path: str | None, folders: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER").mkdir()
    assert harness.group_by_folder(names, include_path) == folders


YAML = """task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: mine.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: q
doc_to_choice: choices
doc_to_target: gold
metric_list: [{metric: acc}]
"""


@installed
def test_with_lm_eval_itself(tmp_path: Path) -> None:
    """In a process of its own: its libraries warn a lot."""
    (tmp_path / "mine.yaml").write_text(YAML, "utf-8")
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in DOCS), "utf-8")
    code = (
        "from loadstone.evals.lm_eval import harness; from loadstone.evals.settings import Eval\n"
        "from loadstone.evals.requests.eval_request import AnswerMode\n"
        "((task,), _) = harness.load_tasks(['mine'], '.')\n"
        "how = AnswerMode('loglikelihood', 'completions')\n"
        "print([one[0].continuation for item in task.items(Eval(tasks=['mine']), how) for one in item.requests])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "[' three', ' four', ' blue', ' red']", done.stderr
