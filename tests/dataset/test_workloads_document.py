"""docs/workloads.md: each of its lines runs as it stands, on files of the formats that it names."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadstone.apis import APIS
from loadstone.cli.parser import build_parser
from loadstone.dataset import READERS
from loadstone.schedule.arrivals import ARRIVALS
from support import servers as servers
from support.paths import ROOT
from support.servers import clean, loadstone, read_json, records

TEXT = (ROOT / "docs" / "workloads.md").read_text("utf-8")
COMMANDS = re.findall(r"^\$ (loadstone .*)", TEXT, re.MULTILINE)
RUNS = [line for line in COMMANDS if line.startswith("loadstone run")]
SERVER = "http://127.0.0.1:8000"
LIBRARIES = {"parquet:": "pyarrow", "hf:": "datasets", "--tokenizer": "transformers"}
ROWS = [f"Tell me about the {thing} that I saw." for thing in ("harbour", "compass", "chart", "lighthouse")]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _talk(number: int) -> dict[str, Any]:
    turns = [("human", ROWS[number]), ("gpt", "It stands by the sea."), ("human", "Since when?"), ("gpt", "Long ago.")]
    return {"id": f"talk-{number}", "conversations": [{"from": who, "value": text} for who, text in turns]}


def _mooncake(number: int) -> dict[str, Any]:
    """Every other request has the first block of its neighbour."""
    return {
        "timestamp": 250 * number,
        "input_length": 1100,
        "output_length": 3 + number % 3,
        "hash_ids": [number // 2, 100 + number, 200 + number],
    }


FILES: dict[str, str | bytes] = {
    "mooncake.jsonl": _lines(*map(_mooncake, range(12))),
    "azure.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    + "".join(f"2023-11-16 18:17:{13 + number}.9799600,{100 + 10 * number},{3 + number}\n" for number in range(6)),
    "burstgpt.csv": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    + "".join(f"{5 + 2 * number},GPT-4,{100 + number},30,{130 + number},API log\n" for number in range(9)),
    "production.jsonl": _lines(
        *(
            {
                "timestamp": 1700000000 + number / 2,
                "body": {"model": "theirs", "messages": [{"role": "user", "content": ROWS[number]}]},
                "headers": {"X-Tenant": f"t{number}"},
                "output_tokens": 3 + number,
            }
            for number in range(4)
        )
    ),
    "prompts.txt": "\n".join(ROWS),
    "prompts.jsonl": _lines(*({"prompt": row} for row in ROWS)),
    "prompts.csv": "id,question\n" + "".join(f"{number},{row}\n" for number, row in enumerate(ROWS)),
    "mixed.txt": f"{ROWS[0]}\n"
    + _lines([{"role": "user", "content": ROWS[1]}], {"prompt": ROWS[2], "temperature": 0.5}),
    "hc3.jsonl": _lines(*({"question": row, "human_answers": ["x"]} for row in ROWS)),
    "longalpaca.json": json.dumps([{"instruction": row, "output": "x"} for row in ROWS]),
    "custom.jsonl": _lines(*({"prompt": row, "output_tokens": 2 + number} for number, row in enumerate(ROWS))),
    "sharegpt.json": json.dumps([_talk(number) for number in range(4)]),
    "mt-bench.jsonl": _lines(*({"question_id": number, "turns": [row, "And why?"]} for number, row in enumerate(ROWS))),
    "rerank.jsonl": _lines(*({"query": row, "documents": ROWS} for row in ROWS)),
    "images.jsonl": _lines(
        {"prompt": ROWS[0], "image": "pixel.png"}, {"prompt": ROWS[1], "image": "http://x.test/a.png"}
    ),
    "pixel.png": PIXEL,
    "prompts-folder/train.jsonl": _lines(*({"question": row} for row in ROWS)),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with servers.spawned() as found:
        yield found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean(monkeypatch, tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, content in FILES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def _prepare(line: str) -> None:
    """The files that take a library to make; without it the line is skipped."""
    for word, library in LIBRARIES.items():
        if word in line and importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    if "prompts.parquet" in line:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"prompt": ROWS}), "prompts.parquet")
    if "tokenizer-folder" in line:
        _write_tokenizer(Path("tokenizer-folder"))


def _write_tokenizer(path: Path) -> None:
    """A tokenizer of bytes, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    found = PreTrainedTokenizerFast(tokenizer_object=made)
    found.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}[assistant]"
    found.save_pretrained(path)


@pytest.mark.parametrize("line", RUNS)
def test_the_line_runs(line: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    _prepare(line)
    words = [word.replace(SERVER, url, 1) for word in shlex.split(line)[1:]]
    done = loadstone(capsys, *words, "-o", "run", "--quiet")
    assert done.status == 0, done.err
    rows = records(Path("run"))
    assert rows
    assert {row.error.kind for row in rows if row.error} <= ({"cancelled"} if "--cancel-share" in line else set())
    run = read_json(Path("run/run.json"))
    assert run.get("expected") in (None, sum(row.phase == "measure" for row in rows))


SEEDED = (
    "--rate 90 --arrivals gamma --burstiness 0.5 --dataset synthetic -n 12 --turns uniform(1,3) --input-len exp(9)"
    " --output-len uniform(2,4) --model sim=2,sim=1 --shuffle --cancel-share 0.2 --cancel-after 9s",
    "--stages 100ms@40..200 --dataset prefix_repetition --input-len 8 --prefix-len 8 --output-len 2",
    "--rate 90 -n 12 --dataset prompts.jsonl --shuffle --output-len 2",
)


@pytest.mark.parametrize("flags", SEEDED)
def test_one_seed_sends_the_same_and_another_does_not(flags: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        given = ("--url", url, *flags.split(), "--seed", seed, "--save-bodies", "-o", name, "--quiet")
        assert loadstone(capsys, "run", *given).status == 0
    kept = {
        name: [Path(name, file).read_bytes() for file in ("schedule.jsonl", "bodies.jsonl")]
        for name in ("one", "again")
    }
    assert kept["one"] == kept["again"]
    digests = [read_json(Path(name, "run.json"))["digest"] for name in ("one", "again", "other")]
    assert digests[0] == digests[1]
    assert digests[0]["schedule"] != digests[2]["schedule"]
    assert digests[0]["bodies"] != digests[2]["bodies"]


CLASHES = [
    ("--rate 5 --stages 3s@2", "--rate and --stages exclude each other: stages have rates of their own"),
    ("--arrivals replay", "--arrivals replay needs a dataset with recorded times, such as mooncake:trace.jsonl"),
    ("--from 3s", "--from and --to take a window of recorded times, and this dataset has none"),
    ("--speed 3", "--speed is for recorded times: give a trace, and neither --rate, --stages nor -c alone"),
    (
        "--stop-saturated -c 4",
        "--stop-saturated is for open loops, whose load does not wait for the server: give --rate",
    ),
    ("--api template", "--api template and --body-template go together: give both, with --text-path"),
    ("--dataset azure:untimed.csv", "untimed.csv has no column 'TIMESTAMP'"),
    ("--dataset production.jsonl --rate 5 --arrivals replay", "--arrivals replay takes the recorded times"),
    ("--dataset broken.jsonl", "broken.jsonl, line 2: not JSON"),
    ("--config own.toml", "own.toml, line 1: `run` has no setting 'burstyness' (did you mean burstiness?); "),
]


@pytest.mark.parametrize(("flags", "words"), CLASHES)
def test_what_does_not_go_together(flags: str, words: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("untimed.csv").write_text("ContextTokens,GeneratedTokens\n12,3\n")
    Path("broken.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n')
    Path("own.toml").write_text("burstyness = 3\n")
    assert words in servers.refused(capsys, "run", "--url", url, *flags.split(), "-o", "run")
    assert not Path("run").exists()


def test_a_template_with_a_path_that_is_not_there(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    template = '{"model": "%m", "prompt": "%p", "max_tokens": 2}'
    given = ("--api", "template", "--body-template", template, "--text-path", "choices.0.txt")
    said = servers.refused(capsys, "run", "--url", f"{url}/v1/completions", *given, "-o", "run")
    assert "answers, but not as --api expects: nothing at choices.0.txt in the answer" in said
    assert not Path("run").exists()


def _told(flag: str) -> set[str]:
    return {word for line in RUNS for word in re.findall(rf"{flag} ([\w-]+)", line)}


def test_each_part_has_a_line() -> None:
    generators = {name for name in READERS if "synthetic" in READERS[name]}
    by_content = {"lines", "jsonl", "csv"}
    assert _told("--dataset") >= set(READERS) - by_content | generators
    assert _told("--api") == set(APIS) - {"tei-rerank"}  # of a server that the simulated one is not
    assert _told("--arrivals") == set(ARRIVALS)


def test_the_server_line_parses() -> None:
    (line,) = [line for line in COMMANDS if line.startswith("loadstone serve")]
    assert build_parser().parse_args(shlex.split(line)[1:]).engine == "vllm"
