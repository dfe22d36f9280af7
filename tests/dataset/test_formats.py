"""What each format of prompts gives for what is in a file, and the one sentence for what is wrong in it."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone import plugins
from loadstone.dataset import READERS, Options, read, resolve
from loadstone.dataset.detect import detect
from loadstone.dataset.formats.jsonl import read as read_jsonl
from loadstone.dataset.source import Source
from loadstone.errors import UsageError
from loadstone.records import Prompt
from support import sentences as sentences

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
SHARED = '{"id": "a1", "conversations": [%s]}'
HUMAN = '{"from": "human", "value": "Hi"}'
GPT = '{"from": "gpt", "value": "Hello!"}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ignore(_text: str) -> None:
    pass


def prompts_of(name: str, content: str | bytes, prompt_field: str | None = None) -> list[Prompt]:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read(name, Options(prompt_field=prompt_field), ignore)


def refusal(spec: str, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        read(spec, Options(**options), ignore)
    assert "\n" not in str(caught.value)
    return str(caught.value)


ROWS: list[tuple[str, str | None, Prompt]] = [
    ('{"prompt": "a", "question": "b"}', None, Prompt(id="f:1", text="a")),
    ('{"answer": "b", "question": "a"}', None, Prompt(id="f:1", text="a")),
    ('{"text": "a"}', None, Prompt(id="f:1", text="a")),
    ('{"input": "a"}', None, Prompt(id="f:1", text="a")),
    ('{"prompt": null, "question": " ", "input": "a"}', None, Prompt(id="f:1", text="a")),
    ('"a"', None, Prompt(id="f:1", text="a")),
    ('[{"role": "user", "content": "Hello"}]', None, Prompt(id="f:1", messages=HELLO)),
    ('{"messages": [{"role": "user", "content": "Hello"}]}', None, Prompt(id="f:1", messages=HELLO)),
    ('{"prompt": [{"role": "user", "content": "Hello"}]}', None, Prompt(id="f:1", messages=HELLO)),
    ('{"prompt": "a", "mine": "b"}', "mine", Prompt(id="f:1", text="b")),
    ('{"x": {"y": "a"}}', "x.y", Prompt(id="f:1", text="a")),
    ('{"x.y": "a", "x": {"y": "b"}}', "x.y", Prompt(id="f:1", text="a")),
    ('{"turns": ["a", "b"]}', "turns.1", Prompt(id="f:1", text="b")),
    ('{"x": [{"role": "user", "content": "Hello"}]}', "x", Prompt(id="f:1", messages=HELLO)),
    ('{"id": 7, "prompt": "a"}', None, Prompt(id="7", text="a")),
    ('{"id": 0, "prompt": "a"}', None, Prompt(id="0", text="a")),
    ('{"id": null, "task_id": "HE/3", "prompt": "a"}', None, Prompt(id="HE/3", text="a")),
    ('{"id": ["x"], "_id": "k", "prompt": "a"}', None, Prompt(id="k", text="a")),
    ('{"prompt": "a", "output_len": 12}', None, Prompt(id="f:1", text="a", output_len=12)),
    ('{"prompt": "a", "output_tokens": 12}', None, Prompt(id="f:1", text="a", output_len=12)),
    ('{"prompt": "a", "output_len": null}', None, Prompt(id="f:1", text="a")),
    ('{"prompt": " a\\n", "id": "x"}', None, Prompt(id="x", text=" a\n")),
    ('{"prompt": "a", "max_tokens": 5, "foo": 1}', None, Prompt(id="f:1", text="a", body={"max_tokens": 5, "foo": 1})),
    (
        '{"id": 3, "messages": [{"role": "user", "content": "Hello"}], "model": "m", "output_len": 9}',
        None,
        Prompt(id="3", messages=HELLO, body={"model": "m"}, output_len=9),
    ),
    ('{"model": "m", "question": "a"}', None, Prompt(id="f:1", text="a")),
    ('{"prompt": [5, 6], "n": 2}', None, Prompt(id="f:1", body={"prompt": [5, 6], "n": 2})),
    (
        '{"_id": "b-1", "body": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}}',
        "body",
        Prompt(id="b-1", messages=HELLO, body={"model": "m"}),
    ),
    ('{"row": {"question": "a"}}', "row", Prompt(id="f:1", text="a")),
    ('{"query": "q", "documents": ["a", "b"]}', None, Prompt(id="f:1", text="q", documents=["a", "b"])),
    ('{"query": "q", "passages": [{"text": "a"}]}', None, Prompt(id="f:1", text="q", documents=["a"])),
    ('{"texts": ["a", "b"]}', None, Prompt(id="f:1", documents=["a", "b"])),
    ('{"id": 4, "input": ["a"]}', None, Prompt(id="4", documents=["a"])),
    ('{"x": {"texts": ["a"]}}', "x.texts", Prompt(id="f:1", documents=["a"])),
    ('{"question": "a", "texts": ["b"]}', None, Prompt(id="f:1", text="a")),
]


@pytest.mark.parametrize(("row", "prompt_field", "expected"), ROWS, ids=[row for row, _, _ in ROWS])
@pytest.mark.usefixtures("folder")
def test_a_json_row(row: str, prompt_field: str | None, expected: Prompt) -> None:
    assert prompts_of("f.jsonl", row + "\n", prompt_field) == [expected]


FILES: list[tuple[str, str | bytes, list[tuple[str, str]]]] = [
    ("f.txt", "one\n\n  \r\ntwo\r\nthree", [("f:1", "one"), ("f:4", "two"), ("f:5", "three")]),
    ("f", "one", [("f:1", "one")]),
    ("f.txt", "a\u2028b\x0bc\n d ", [("f:1", "a\u2028b\x0bc"), ("f:2", " d ")]),
    ("f.txt", b"\xef\xbb\xbfone\n", [("f:1", "one")]),
    ("f.txt", "[INST] one\n{name} two", [("f:1", "[INST] one"), ("f:2", "{name} two")]),
    ("f.txt", '"quoted"\nplain', [("f:1", '"quoted"'), ("f:2", "plain")]),
    ("f.txt", "text, with a comma\nand one, more", [("f:1", "text, with a comma"), ("f:2", "and one, more")]),
    ("f.txt", '{"prompt": "a"}\n\n{"prompt": "b"}\n', [("f:1", "a"), ("f:3", "b")]),
    ("f.csv", '{"prompt": "a, b"}\n', [("f:1", "a, b")]),
    ("f", '"a"\n"b"\n', [("f:1", "a"), ("f:2", "b")]),
    ("f.json", '[{"prompt": "a"},\n {"prompt": "b"}]', [("f:1", "a"), ("f:2", "b")]),
    ("f.json", '[{"prompt": "a"}, "b"]', [("f:1", "a"), ("f:2", "b")]),
    ("f.json", '{\n  "prompt": "a"\n}', [("f:1", "a")]),
    ("f.jsonl.gz", gzip.compress(b'{"text": "a"}\n', mtime=0), [("f:1", "a")]),
    ("f.bin", gzip.compress(b"one\n", mtime=0), [("f:1", "one")]),
    ("f.csv", 'id,prompt\n1,a\n\n2,"b, c"\n', [("1", "a"), ("2", "b, c")]),
    ("f.csv", "id, question\n1,a\n", [("1", "a")]),
    ("f.csv", 'anything\na\n"b\nc"\nd\n', [("f:2", "a"), ("f:3", "b\nc"), ("f:5", "d")]),
    ("f.csv", b"\xef\xbb\xbfprompt,x\r\na,1\r\n", [("f:2", "a")]),
    ("f.csv", "x;text\n1;a, b\n", [("f:2", "a, b")]),
    ("f.tsv", "x\ttext\n1\ta\n", [("f:2", "a")]),
    ("f", "prompt,category\na,b\n", [("f:2", "a")]),
    ("f.csv", "prompt,x\n" + "y" * 200_000 + ",1\n", [("f:2", "y" * 200_000)]),
    ("f.json", f"[{SHARED % HUMAN}]", [("a1", "Hi")]),
    ("f", SHARED % f"{GPT}, {HUMAN}" + "\n", [("a1", "Hi")]),
    ("f.json", f'[\n{{"conversations": [{HUMAN}, {GPT}]}}\n]', [("f:1", "Hi")]),
]


@pytest.mark.parametrize(("name", "content", "expected"), FILES)
@pytest.mark.usefixtures("folder")
def test_a_file_is_read_by_its_content(name: str, content: str | bytes, expected: list[tuple[str, str]]) -> None:
    assert [(prompt.id, prompt.text) for prompt in prompts_of(name, content)] == expected


DETECTED = [
    ("f.jsonl", '{"prompt": "a"', "jsonl"),
    ("f", '{"prompt": "a"', "jsonl"),
    ("f", "{'prompt': 'a'}", "lines"),
    ("f", "42\ntrue\n", "lines"),
    ("f", '{"prompt": "say \\"conversations\\": []"}', "jsonl"),
    ("f", "prompt,category\njust a line\n", "lines"),
    ("f", "prompt\na\n", "lines"),
    ("f.csv", "a\n", "csv"),
    ("f", SHARED % HUMAN, "sharegpt"),
    ("f", '[\n {"id": "x", "conversations": []}]', "sharegpt"),
    ("f", '{"conversation": [{"human": "a"}]}', "sharegpt"),
    ("f", '{"conversation": "c-7", "prompt": "a"}', "jsonl"),
    ("f", '[{"conversation": "c-7", "prompt": "a"}]', "jsonl"),
    ("f", '{"timestamp": 0, "input_length": 9, "output_length": 2, "hash_ids": [0]}', "mooncake"),
    ("f", '{"timestamp": 0, "body": {"prompt": "a"}}', "workload_trace"),
    ("f", '{"prompt": "a", "meta": {"timestamp": 0, "body": "b"}}', "jsonl"),
    ("f", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n", "azure"),
    ("f.csv", "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,x,1,2,3,y\n", "burstgpt"),
    ("f", "PAR1...", "parquet"),
    ("f.parquet", "x", "parquet"),
]


@pytest.mark.parametrize(("name", "content", "expected"), DETECTED)
def test_detection(name: str, content: str, expected: str) -> None:
    assert detect(Source(name, content.encode, ignore), Options()) == expected


def test_with_a_prompt_field_a_trace_is_rows() -> None:
    source = Source("f", '{"timestamp": 0, "body": {"prompt": "a"}}'.encode, ignore)
    assert detect(source, Options(prompt_field="body")) == "jsonl"


@pytest.mark.usefixtures("folder")
def test_with_a_prompt_field_sharegpt_is_plain_json() -> None:
    prompts = prompts_of("f.json", f"[{SHARED % f'{HUMAN}, {GPT}'}]", "conversations.1.value")
    assert prompts == [Prompt(id="a1", text="Hello!")]


@pytest.mark.usefixtures("folder")
def test_a_csv_row_is_never_a_request_body() -> None:
    assert prompts_of("f.csv", "prompt,model,output_len\na,m,16\n") == [Prompt(id="f:2", text="a", output_len=16)]


BAD: list[tuple[str, str | bytes, str | None, str]] = [
    ("f.jsonl", '"a"\n' * 6 + '{"prompt"\n"b"', None, "f.jsonl, line 7: not JSON (…)"),
    ("f", '{"prompt": "a"}\nplain text\n', None, "f, line 2: not JSON (…)"),
    ("f.jsonl", "plain text\n", None, "f.jsonl, line 1: not JSON (…)"),
    ("f.jsonl", '{"prompt": NaN}', None, "f.jsonl, line 1: not JSON (…)"),
    ("f.jsonl", "[" * 100_000, None, "f.jsonl, line 1: not JSON (nested too deeply)"),
    ("f.json", '[{"prompt": "a"},\n{"prompt": }]', None, "f.json, line 2: not JSON (…)"),
    (
        "f.jsonl",
        '{"a": "x", "b": 2}',
        None,
        "f.jsonl, line 1: no prompt in prompt or question or text or input or messages;"
        " say with --prompt-field which field it is (a, b)",
    ),
    (
        "f.jsonl",
        '{"a": "x"}',
        "a.b",
        "f.jsonl, line 1: no prompt in a.b; say with --prompt-field which field it is (a)",
    ),
    ("f.jsonl", "{}", "a", "f.jsonl, line 1: no prompt in a; say with --prompt-field which field it is (none)"),
    ("f.jsonl", "7", None, "f.jsonl, line 1: the row is neither a text nor a list of messages with a role each"),
    (
        "f.jsonl",
        '{"prompt": 7}',
        None,
        "f.jsonl, line 1: prompt is neither a text nor a list of messages with a role each",
    ),
    (
        "f.jsonl",
        '{"messages": ["x"], "n": 1}',
        None,
        "f.jsonl, line 1: messages is neither a text nor a list of messages with a role each",
    ),
    (
        "f.jsonl",
        '{"prompt": "a", "output_len": 0}',
        None,
        "f.jsonl, line 1: output_len is '0', not a whole number of at least 1",
    ),
    (
        "f.jsonl",
        '{"prompt": "a", "output_tokens": true}',
        None,
        "f.jsonl, line 1: output_tokens is 'True', not a whole number of at least 1",
    ),
    ("f.json", '["a", 7]', None, "f.json, item 2: the row is neither a text nor a list of messages with a role each"),
    ("f.json", "[]", None, "f.json holds no prompt"),
    ("f.csv", "a,prompt\n1,x\n2\n", None, "f.csv, line 3: 1 cells where the header has 2"),
    ("f.csv", 'a,prompt\n1,x\n2,"y\n3,z\n', None, "f.csv, line 3: not CSV (…)"),
    (
        "f.csv",
        "a,b\n1,x\n",
        None,
        "f.csv, line 2: no prompt in prompt or question or text or input or messages;"
        " say with --prompt-field which field it is (a, b)",
    ),
    ("f.csv", "a,prompt\n", None, "f.csv holds no prompt"),
    ("f.csv", ",\n", None, "f.csv holds no prompt"),
    ("f.txt", b"one\ntwo\n\xff\xfe\n", None, "f.txt, line 3: not UTF-8 text (…); save it as UTF-8"),
    ("f.txt", "", None, "f.txt is empty"),
    ("f.txt", " \n\n", None, "f.txt is empty"),
    ("f.txt", "\u2003\n", None, "f.txt holds no prompt"),
    ("f.gz", gzip.compress(b"one" * 100, mtime=0)[:-9], None, "f.gz is not a whole gzip file: "),
    ("f.gz", gzip.compress(b"", mtime=0), None, "f.gz is empty"),
    ("f.json", '[{"conversations": 7}]', None, "f.json, item 1: no list of `conversations` in the row; "),
    (
        "f.jsonl",
        SHARED % '{"from": "human"}',
        None,
        "f.jsonl, line 1: a turn of `conversations` lacks `from` or `value`",
    ),
    ("f.jsonl", SHARED % GPT, None, "f.jsonl holds no prompt"),
    ("f.jsonl", '{"query": "q", "documents": [7]}', None, "f.jsonl, line 1: documents is not a list of texts"),
    ("f.jsonl", '{"turns": [7]}', None, "f.jsonl, line 1: a turn of `turns` lacks a text"),
    ("f.jsonl", '{"turns": [" "]}', None, "f.jsonl, line 1: turns has no turn of the user"),
]


SPECIAL: list[tuple[str, str, list[Prompt]]] = [
    ("openqa", '{"question": "a", "human_answers": ["b"]}', [Prompt(id="f:1", text="a")]),
    ("openqa", '{"prompt": "b", "question": "a", "model": "m"}', [Prompt(id="f:1", text="a")]),
    ("longalpaca", '[{"instruction": "a", "input": "", "output": "b"}]', [Prompt(id="f:1", text="a")]),
    ("custom", '{"prompt": "a", "output_tokens": 9}', [Prompt(id="f:1", text="a", output_len=9)]),
    ("custom", '{"prompt": "a", "temperature": 1}', [Prompt(id="f:1", text="a")]),
    ("line_by_line", "[INST] one\n{x} two", [Prompt(id="f:1", text="[INST] one"), Prompt(id="f:2", text="{x} two")]),
    (
        "line_by_line",
        'a\n[{"role": "user", "content": "Hello"}]\n{"prompt": "b", "top_k": 3, "mine": 4}\n{"question": "c"}',
        [
            Prompt(id="f:1", text="a"),
            Prompt(id="f:2", messages=HELLO),
            Prompt(id="f:3", text="b", body={"top_k": 3, "mine": 4}),
            Prompt(id="f:4", text="c"),
        ],
    ),
    ("line_by_line", '{"messages": [{"role": "user", "content": "Hello"}]}', [Prompt(id="f:1", messages=HELLO)]),
    ("line_by_line", '{"prompt": "b", "mine": 4}', [Prompt(id="f:1", text="b", body={"mine": 4})]),
]


@pytest.mark.parametrize(("reader", "content", "expected"), SPECIAL)
@pytest.mark.usefixtures("folder")
def test_a_format_that_must_be_named(reader: str, content: str, expected: list[Prompt]) -> None:
    Path("f.jsonl").write_text(content)
    assert read(f"{reader}:f.jsonl", Options(), ignore) == expected


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        (
            "openqa",
            '{"prompt": "a"}',
            "f, line 1: no prompt in question; say with --prompt-field which field it is (prompt)",
        ),
        ("longalpaca", '["a"]', "f, item 1: not an object with a field 'instruction'"),
        ("custom", "a", "f, line 1: not JSON (invalid character (byte 0))"),
        (
            "custom",
            '{"prompt": "a", "output_tokens": -1}',
            "f, line 1: output_tokens is '-1', not a whole number of at least 1",
        ),
        ("line_by_line", 'one\n{"prompt": }', "f, line 2: not JSON (…)"),
        (
            "line_by_line",
            '["a", 7]',
            "f, line 1: the row is neither a text nor a list of messages with a role each",
        ),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_bad_row_of_a_format_that_must_be_named(reader: str, content: str, message: str) -> None:
    Path("f").write_text(content)
    assert sentences.same(message, refusal(f"{reader}:f"))


@pytest.mark.parametrize(("name", "content", "prompt_field", "message"), BAD)
@pytest.mark.usefixtures("folder")
def test_bad_input_is_one_sentence(name: str, content: str | bytes, prompt_field: str | None, message: str) -> None:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    said = refusal(name, prompt_field=prompt_field)
    assert said.startswith(message) if message.endswith(" ") else sentences.same(message, said)


@pytest.mark.usefixtures("folder")
def test_sharegpt_keeps_the_system_turn_and_counts_what_it_passes_over() -> None:
    system = '{"from": "system", "value": "Be brief."}'
    rows = [SHARED % f"{system}, {HUMAN}, {GPT}", SHARED % GPT, SHARED % "", SHARED % '{"from": "user", "value": " "}']
    Path("s.jsonl").write_text("\n".join(rows))
    notices: list[str] = []
    prompts = read("s.jsonl", Options(), notices.append)
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert prompts == [Prompt(id="a1", messages=asked)]
    assert notices == ["s.jsonl: 3 conversations without a human turn were passed over"]


@pytest.mark.usefixtures("folder")
def test_request_bodies_are_told() -> None:
    Path("b.jsonl").write_text('{"prompt": "a", "n": 2}\n{"prompt": "b", "seed": 1}\n{"prompt": "c"}\n')
    notices: list[str] = []
    read("b.jsonl", Options(), notices.append)
    assert notices == ["b.jsonl: 2 rows are request bodies; their fields win over flags: n, seed"]


class Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize(
    ("spec", "data", "texts"),
    [
        ("-", b'{"prompt": "a"}\n', ["a"]),
        ("-", b"one\ntwo\n", ["one", "two"]),
        ("lines:-", b'{"prompt": "a"}\n', ['{"prompt": "a"}']),
        ("jsonl:-", gzip.compress(b'"a"\n', mtime=0), ["a"]),
    ],
)
def test_stdin(monkeypatch: pytest.MonkeyPatch, spec: str, data: bytes, texts: list[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(data))
    prompts = read(spec, Options(), ignore)
    assert [(prompt.id, prompt.text) for prompt in prompts] == [
        (f"stdin:{number}", text) for number, text in enumerate(texts, 1)
    ]


@pytest.mark.usefixtures("folder")
def test_a_format_before_the_path_overrules_the_content() -> None:
    Path("f.jsonl").write_text('{"prompt": "a"}\n')
    assert read("lines:f.jsonl", Options(), ignore) == [Prompt(id="f:1", text='{"prompt": "a"}')]


@pytest.mark.usefixtures("folder")
def test_names_go_before_files_and_a_path_still_reaches_the_file() -> None:
    Path("lines").write_text("one\n")
    assert refusal("lines") == "lines reads a file: give it as lines:PATH"
    assert read("./lines", Options(), ignore) == [Prompt(id="lines:1", text="one")]


def test_a_bundled_set_is_found_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine.jsonl").write_text('{"prompt": "a"}\n')
    monkeypatch.setattr(resolve, "bundled", lambda: {"mine": folder / "mine.jsonl"})
    expected = [Prompt(id="mine:1", text="a")]
    assert read("mine", Options(), ignore) == read("jsonl:mine", Options(), ignore) == expected
    assert "did you mean mine?" in refusal("mien")


def test_every_bundled_set_is_readable() -> None:
    assert "chat-small" in resolve.bundled()
    assert len(read("chat-small", Options(), ignore)) >= 200


@pytest.mark.parametrize("layout", ["wheel", "checkout"])
def test_bundled_sets_lie_in_the_wheel_or_beside_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    folder = tmp_path / ("perf/loadstone/bundled" if layout == "wheel" else "datasets")
    folder.mkdir(parents=True)
    (folder / "x.jsonl").touch()
    (folder / "README.md").touch()
    monkeypatch.setattr(resolve, "__file__", str(tmp_path / "perf/loadstone/dataset/resolve.py"))
    assert resolve.bundled() == {"x": folder.resolve() / "x.jsonl"}


KNOWN = f"(formats and generators: {', '.join(READERS)}; bundled: x)"
USE = "give a file, - for stdin, FORMAT:PATH, path/to/file.py:Name, or a name"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing", f"no dataset 'nothing': {USE} {KNOWN}"),
        ("", f"no dataset '': {USE} {KNOWN}"),
        ("jsnl:f.txt", f"no dataset 'jsnl:f.txt': {USE} {KNOWN}"),
        ("rnadom", f"no dataset 'rnadom': did you mean random? {USE} {KNOWN}"),
        ("dir/prompt.jsonl", f"no dataset 'dir/prompt.jsonl': did you mean {Path('dir/prompts.jsonl')}? {USE} {KNOWN}"),
        ("x" * 5000, f"no dataset '{'x' * 5000}': {USE} {KNOWN}"),
        ("a\0b", f"no dataset 'a\\x00b': {USE} {KNOWN}"),
        ("dir", "dir is a folder; give a file in it"),
        ("jsonl:", "jsonl reads a file: give it as jsonl:PATH"),
        ("jsonl:no.jsonl", "cannot read no.jsonl: …"),
        ("jsonl:a\0b", "cannot read 'a\\x00b': …"),
        ("jsonl:~nobody-here/x", "cannot read ~nobody-here/x: …"),
        ("own.py:Name", "no file 'own.py'; a part of your own is given as path/to/file.py:Name"),
    ],
)
def test_what_does_not_exist(folder: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str) -> None:
    monkeypatch.setattr(resolve, "bundled", lambda: {"x": folder / "x.jsonl"})
    monkeypatch.setattr(resolve, "installed_plugins", lambda _: {})
    Path("dir").mkdir()
    Path("dir/prompts.jsonl").touch()
    assert sentences.same(message, refusal(spec))


OWN = """
from loadstone.records import Prompt

def stars(source, options):
    yield Prompt(id="s", text="*" * options.input_len)

def upper(source, options):
    yield from (Prompt(id=where.id, text=text.upper()) for where, text in source.lines())

number = 7
"""


@pytest.mark.usefixtures("folder")
def test_a_reader_of_ones_own() -> None:
    Path("own.py").write_text(OWN)
    Path("f.txt").write_text("one\n")
    assert read("own.py:stars", Options(input_len=3), ignore) == [Prompt(id="s", text="***")]
    assert read("own.py:upper:f.txt", Options(), ignore) == [Prompt(id="f:1", text="ONE")]
    assert refusal("own.py:upper") == "own.py:upper reads a file: give it as own.py:upper:PATH"


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        (OWN, "number", "the reader own.py:number is not callable; it must take (source, options) and yield prompts"),
        ("1/0", "x", "--dataset: cannot load own.py:x: ZeroDivisionError: division by zero"),
        ("", "x", "--dataset: cannot load own.py:x: AttributeError: module 'loadstone_own_own' has no attribute 'x'"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_broken_reader_of_ones_own(code: str, name: str, message: str) -> None:
    Path("own.py").write_text(code)
    assert refusal(f"own.py:{name}") == message


class Point:
    """An entry point, as far as it matters."""

    def __init__(self, load: Callable[[], object]) -> None:
        self.load = load


@pytest.mark.usefixtures("folder")
def test_a_reader_of_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def stars(source: Source, _options: Options) -> list[Prompt]:
        return [Prompt(id="s", text=source.text if source.load else "*")]

    for module in (resolve, plugins):
        monkeypatch.setattr(module, "installed_plugins", lambda _: {"stars": Point(lambda: stars)})
    Path("f.txt").write_text("one")
    assert read("stars", Options(), ignore) == [Prompt(id="s", text="*")]
    assert read("stars:f.txt", Options(), ignore) == [Prompt(id="s", text="one")]
    assert "workload_trace, stars;" in refusal("nothing")


@pytest.mark.parametrize("name", READERS)
def test_every_built_in_reader_can_be_imported(name: str) -> None:
    assert callable(plugins.load_instance(resolve.GROUP, name, READERS, "--dataset"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["prompt", "messages", "role", "content", "id", "output_len", "n", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
PATHS = st.none() | st.sampled_from(["prompt", "x.y", "messages.0.content", "x.0", ""])


def swallow(data: bytes, prompt_field: str | None) -> list[Prompt]:
    """The prompts, or none where the reader refuses; any other exception fails the test."""
    try:
        return list(read_jsonl(Source("f.jsonl", lambda: data, ignore), Options(prompt_field=prompt_field)))
    except UsageError:
        return []


def sound(prompts: list[Prompt]) -> bool:
    msgspec.json.encode(prompts)
    return all(prompt.id and (prompt.text or prompt.messages or prompt.body) for prompt in prompts)


@given(st.binary(max_size=200), PATHS)
def test_no_bytes_make_the_json_reader_raise_anything_else(data: bytes, prompt_field: str | None) -> None:
    assert sound(swallow(data, prompt_field))


@given(st.lists(JSON, max_size=4), PATHS)
def test_no_rows_make_the_json_reader_raise_anything_else(rows: list[object], prompt_field: str | None) -> None:
    assert sound(swallow(b"\n".join(map(msgspec.json.encode, rows)), prompt_field))
    assert sound(swallow(msgspec.json.encode(rows), prompt_field))


@given(st.text(alphabet='{}[]",:\\ud8c0prompt10 \n', max_size=60))
def test_no_near_json_makes_the_json_reader_raise_anything_else(text: str) -> None:
    assert sound(swallow(text.encode(), None))


@given(st.binary(max_size=100), st.sampled_from(["f", "f.txt", "f.csv", "f.json", "f.gz"]))
def test_detection_raises_nothing_else(data: bytes, name: str) -> None:
    with contextlib.suppress(UsageError):
        assert detect(Source(name, lambda: data, ignore), Options()) in READERS
