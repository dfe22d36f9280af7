"""Recorded traces as prompts: Mooncake's shared blocks, Azure's and BurstGPT's token counts, and bad rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from loadstone.dataset import Options, read
from loadstone.dataset import tokenizer as tokens
from loadstone.dataset.source import open_source
from loadstone.dataset.synthetic.words import WORDS
from loadstone.dataset.traces.mooncake import MooncakeRequest, hit_ratio, requests
from loadstone.errors import UsageError
from loadstone.records import Prompt
from support import sentences as sentences
from support.paths import SHARED
from support.tokenizers import Spaced

TRACES = SHARED / "data" / "traces"
real = pytest.mark.skipif(not TRACES.is_dir(), reason="the recorded traces of ../shared/data/traces are not here")
WORDED = "lengths are counted in words, not tokens; give --tokenizer for exact token lengths"
S = 1_000_000_000


def ignore(_notice: str) -> None:
    pass


def row(at: float, length: int, ids: Sequence[int], output: int = 8) -> dict[str, Any]:
    return {"timestamp": at, "input_length": length, "output_length": output, "hash_ids": list(ids)}


def trace(folder: Path, rows: Iterable[object]) -> str:
    path = folder / "trace.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return f"mooncake:{path}"


ROWS = [
    row(0, 1200, [0, 1, 2], 500),
    row(1500.5, 1030, [0, 1, 3]),
    row(1000, 512, [4]),
    row(9000, 1024, [0, 5], 1),
    row(9500, 1200, [0, 1, 2]),
    row(9900, 1024, [5, 1]),
]


def test_mooncake_rows_become_prompts_in_order_of_time(tmp_path: Path) -> None:
    notices: list[str] = []
    spec = trace(tmp_path, ROWS)
    prompts = read(spec, Options(), notices.append)
    assert [prompt.id for prompt in prompts] == [f"trace:{line}" for line in (1, 3, 2, 4, 5, 6)]
    assert [prompt.at for prompt in prompts] == [0, S, 1_500_500_000, 9 * S, 9_500_000_000, 9_900_000_000]
    assert [prompt.input_len for prompt in prompts] == [1200, 512, 1030, 1024, 1200, 1024]
    assert [prompt.output_len for prompt in prompts] == [500, 8, 8, 1, 8, 8]
    assert [len(text(prompt)) for prompt in prompts] == [prompt.input_len for prompt in prompts]
    assert notices == [f"{spec.removeprefix('mooncake:')}: {WORDED}"]


def text(prompt: Prompt, tokenizer: Spaced | None = None) -> list[Any]:
    return tokenizer.encode(prompt.text or "") if tokenizer else (prompt.text or "").split(" ")


def alike(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many tokens two prompts have in common from the first on."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@pytest.mark.parametrize("tokenizer", [None, Spaced(WORDS)], ids=["words", "tokens"])
@pytest.mark.parametrize(("scale", "block"), [(1.0, 512), (0.1, 51), (0.01, 5), (2.0, 1024)])
def test_equal_blocks_are_equal_tokens_and_others_are_not(
    tokenizer: Spaced | None, scale: float, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "load", lambda _name: tokenizer)
    options = Options(scale_lengths=scale, tokenizer=tokenizer and "toy")
    prompts = {prompt.id: prompt for prompt in read(trace(tmp_path, ROWS), options, ignore)}
    texts = {line: text(prompts[f"trace:{line}"], tokenizer) for line in range(1, 7)}
    assert all(len(texts[line]) == prompts[f"trace:{line}"].input_len for line in texts)
    assert alike(texts[1], texts[2]) == 2 * block
    assert alike(texts[1], texts[4]) == block
    assert texts[1] == texts[5]
    assert [alike(texts[1], texts[line]) for line in (3, 6)] == [0, 0]
    assert prompts["trace:2"].input_len == 2 * block + max(1, round(6 * scale))


def test_a_stretch_of_the_trace_has_the_prompts_of_the_whole(tmp_path: Path) -> None:
    spec = trace(tmp_path, ROWS)
    whole = {prompt.id: prompt.text for prompt in read(spec, Options(), ignore)}
    part = read(spec, Options(trace_from=1.0, trace_to=9.5), ignore)
    assert {prompt.id: prompt.text for prompt in part} == {
        f"trace:{line}": whole[f"trace:{line}"] for line in (3, 2, 4)
    }
    assert [prompt.at for prompt in part] == [0, 500_500_000, 8 * S]
    assert (
        read(spec, Options(trace_from=1.0, count=2, in_order=True), ignore)
        == read(spec, Options(trace_from=1.0), ignore)[:2]
    )
    other = read(spec, Options(seed=1), ignore)
    assert not {prompt.text for prompt in other} & set(whole.values())


def test_no_request_in_the_stretch(tmp_path: Path) -> None:
    spec = trace(tmp_path, ROWS)
    with pytest.raises(UsageError) as caught:
        read(spec, Options(trace_from=20.0), ignore)
    name = spec.removeprefix("mooncake:")
    assert str(caught.value) == f"{name} is 9.9 s long: no request lies between --from and --to"


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ROWS[0].items() if key != name}


BAD = [
    (without("timestamp"), "not a row of a Mooncake trace (…timestamp…)"),
    (without("hash_ids"), "not a row of a Mooncake trace (…hash_ids…)"),
    (row(-1, 5, [1]), "not a row of a Mooncake trace (…timestamp…)"),
    (row(0, 0, []), "not a row of a Mooncake trace (…input_length…)"),
    (
        ROWS[0] | {"output_length": "8"},
        "not a row of a Mooncake trace (…output_length…)",
    ),
    (
        ROWS[0] | {"hash_ids": [0, 1.5, 2]},
        "not a row of a Mooncake trace (…hash_ids…)",
    ),
    ([1], "not a row of a Mooncake trace (…)"),
    (row(0, 513, [1]), "1 hash_ids, where an input_length of 513 takes 2, one for each 512 tokens"),
    (row(0, 512, [1, 2]), "2 hash_ids, where an input_length of 512 takes 1, one for each 512 tokens"),
    (row(0, 5, []), "0 hash_ids, where an input_length of 5 takes 1, one for each 512 tokens"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_bad_rows_of_mooncake(bad: object, message: str, tmp_path: Path) -> None:
    spec = trace(tmp_path, [ROWS[0], bad])
    with pytest.raises(UsageError) as caught:
        read(spec, Options(), ignore)
    assert sentences.same(f"{spec.removeprefix('mooncake:')}, line 2: {message}", str(caught.value))


def test_a_line_that_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n{oops\n")
    with pytest.raises(UsageError, match=r"t\.jsonl, line 2: not JSON \("):
        read(f"mooncake:{path}", Options(), ignore)


def test_a_trace_reads_a_file() -> None:
    with pytest.raises(UsageError) as caught:
        read("mooncake", Options(), ignore)
    assert str(caught.value) == "mooncake reads a file: give it as mooncake:PATH"


def asked(*rows: dict[str, Any]) -> list[MooncakeRequest]:
    return [MooncakeRequest(**each) for each in rows]


@pytest.mark.parametrize(
    ("rows", "page", "share"),
    [
        ([], None, None),
        ([row(0, 512, [1])], None, 0.0),
        ([row(0, 512, [1]), row(0, 512, [1])], None, 0.5),
        ([row(0, 512, [1]), row(0, 512, [1])], 16, 496 / 1024),
        ([row(0, 600, [1, 2]), row(0, 600, [1, 2])], None, 512 / 1200),
        ([row(0, 600, [1, 2]), row(0, 600, [1, 2])], 16, 592 / 1200),
        ([row(0, 1024, [1, 2]), row(0, 1024, [2, 1])], None, 0.0),
        ([row(0, 1024, [1, 2]), row(0, 1024, [3, 2])], None, 0.0),
        ([row(0, 1024, [1, 2]), row(0, 1536, [1, 3, 2])], None, 512 / 2560),
    ],
)
def test_the_share_of_known_tokens(rows: list[dict[str, Any]], page: int | None, share: float | None) -> None:
    assert hit_ratio(asked(*rows), page=page) == share


def test_the_share_of_scaled_blocks() -> None:
    rows = asked(row(0, 1200, [0, 1, 2]), row(0, 1030, [0, 1, 3]))
    assert hit_ratio(rows, scale=0.1) == 102 / (2 * 102 + 18 + 1)
    assert hit_ratio(rows, scale=0.1, page=16) == 96 / (2 * 102 + 18 + 1)


def cached_share(texts: Iterable[Sequence[Any]], page: int) -> float:
    """What a prefix cache of whole pages and without limits finds of these prompts, when it sees the tokens alone."""
    seen: set[tuple[int, tuple[Any, ...]]] = set()
    hits = total = 0
    for each in texts:
        node, known, open_ = 0, 0, True
        for at in range(0, len(each) - page + 1, page):
            step = (node, tuple(each[at : at + page]))
            open_ = open_ and step in seen and at + page < len(each)
            known += page * open_
            seen.add(step)
            node = hash(step)
        hits += known
        total += len(each)
    return hits / total


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.33])
def test_a_cache_that_sees_only_tokens_finds_that_share(
    scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = Spaced(WORDS)
    monkeypatch.setattr(tokens, "load", lambda _name: tokenizer)
    prompts = read(trace(tmp_path, ROWS), Options(scale_lengths=scale, tokenizer="toy"), ignore)
    order = sorted(ROWS, key=lambda each: float(each["timestamp"]))
    found = cached_share((text(prompt, tokenizer) for prompt in prompts), 16)
    assert found == hit_ratio(asked(*order), scale, page=16)


@real
@pytest.mark.parametrize(
    ("name", "count", "length"),
    [("mooncake_conversation", 12_031, 144_793_823), ("mooncake_synthetic", 3993, 61_194_628)],
)
def test_the_real_mooncake_traces_load_whole(name: str, count: int, length: int) -> None:
    rows = [
        each for _, (_, each) in requests(open_source(str(TRACES / f"{name}.jsonl"), "mooncake", ignore), Options())
    ]
    assert len(rows) == count
    assert sum(each.input_length for each in rows) == length


@real
def test_the_first_ten_minutes_of_the_real_trace_share_what_was_recorded() -> None:
    path, options = (
        str(TRACES / "mooncake_conversation.jsonl"),
        Options(trace_from=0.0, trace_to=600.0, scale_lengths=0.05),
    )
    rows = [each for _, (_, each) in requests(open_source(path, "mooncake", ignore), options)]
    prompts = read(f"mooncake:{path}", options, ignore)
    assert len(prompts) == len(rows) == 1750
    assert hit_ratio(rows) == pytest.approx(0.2887, abs=1e-4)
    assert cached_share(map(text, prompts), 16) == hit_ratio(rows, options.scale_lengths, page=16)


AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319601,3180,8
2023-11-16 18:17:03.9999600,110,0
2023-11-16 18:18:03.9799600,7,27
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-09 23:59:59.990000+00:00,40,10
2024-05-10 00:00:00+00:00,31,8
2024-05-10 00:00:00.009930+00:00,10,1
"""
BURST = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,a,1,ChatGPT,472,18,490,Conversation log
45.25,b,1,ChatGPT,10,230,240,Conversation log
118,c,1,GPT-4,417,276,693,API log
120,d,1,GPT-4,300,0,300,API log
"""


def table(folder: Path, reader: str, content: str, **options: Any) -> tuple[list[Prompt], list[str], str]:
    path, notices = folder / "t.csv", list[str]()
    path.write_text(content)
    return read(f"{reader}:{path}", Options(**options), notices.append), notices, str(path)


@pytest.mark.parametrize(
    ("reader", "content", "expected", "told"),
    [
        (
            "azure",
            AZURE,
            [("t:2", 0, 4808, 10), ("t:3", 52_000_100, 3180, 8), ("t:5", 60 * S, 7, 27)],
            ["requests without input or output tokens, which failed, are passed over: 1"],
        ),
        ("azure", AZURE_2024, [("t:2", 0, 40, 10), ("t:3", 10_000_000, 31, 8), ("t:4", 19_930_000, 10, 1)], []),
        (
            "burstgpt",
            BURST,
            [("t:2", 0, 472, 18), ("t:3", 40_250_000_000, 10, 230), ("t:4", 113 * S, 417, 276)],
            [
                "requests without input or output tokens, which failed, are passed over: 1",
                "the requests of all models are replayed (ChatGPT 2, GPT-4 1)",
            ],
        ),
    ],
)
def test_token_traces(
    reader: str, content: str, expected: list[tuple[Any, ...]], told: list[str], tmp_path: Path
) -> None:
    prompts, notices, path = table(tmp_path, reader, content)
    assert [(prompt.id, prompt.at, prompt.input_len, prompt.output_len) for prompt in prompts] == expected
    assert [len(text(prompt)) for prompt in prompts] == [prompt.input_len for prompt in prompts]
    assert len({text(prompt)[0] for prompt in prompts}) == len(prompts)
    assert notices == [f"{path}: {notice}" for notice in [*told, WORDED]]


def test_token_traces_are_scaled_and_cut(tmp_path: Path) -> None:
    whole, _, _ = table(tmp_path, "azure", AZURE, scale_lengths=0.01)
    assert [(prompt.input_len, prompt.output_len) for prompt in whole] == [(48, 1), (32, 1), (1, 1)]
    part, _, _ = table(tmp_path, "azure", AZURE, scale_lengths=0.01, trace_from=0.05, trace_to=10.0)
    assert [(prompt.id, prompt.at, prompt.text) for prompt in part] == [("t:3", 2_000_100, whole[1].text)]
    first, _, _ = table(tmp_path, "azure", AZURE, count=1, in_order=True)
    assert [prompt.id for prompt in first] == ["t:2"]


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        (
            "azure",
            "ContextTokens,GeneratedTokens\n1,2\n",
            " has no column 'TIMESTAMP': this format needs TIMESTAMP, ContextTokens and GeneratedTokens,"
            " not ContextTokens, GeneratedTokens",
        ),
        (
            "burstgpt",
            "Timestamp,Model,Request tokens\n1,a,2\n",
            " has no column 'Response tokens': this format needs Timestamp, Request tokens and Response tokens,"
            " not Timestamp, Model, Request tokens",
        ),
        (
            "azure",
            AZURE + "yesterday,1,2\n",
            ", line 6: TIMESTAMP is 'yesterday', not a time such as 2023-11-16 18:15:46.6805900",
        ),
        (
            "azure",
            AZURE + "2023-13-16 18:18:03,1,2\n",
            ", line 6: TIMESTAMP is '2023-13-16 18:18:03', not a time such as 2023-11-16 18:15:46.6805900",
        ),
        (
            "azure",
            AZURE + "2023-11-16 18:18:03,-1,2\n",
            ", line 6: ContextTokens is '-1', not a number of tokens",
        ),
        ("azure", AZURE + "2023-11-16 18:18:03,1,2.5\n", ", line 6: GeneratedTokens is '2.5', not a number of tokens"),
        ("azure", AZURE + "2023-11-16 18:18:03,1\n", ", line 6: 2 cells where the header has 3"),
        ("burstgpt", BURST.replace("45.25", "nan"), ", line 3: Timestamp is 'nan', not a number of seconds"),
        ("burstgpt", BURST.replace("45.25", "-1"), ", line 3: Timestamp is '-1', not a number of seconds"),
        ("burstgpt", BURST.replace("417", ""), ", line 4: Request tokens is '', not a number of tokens"),
        ("azure", "", " is empty"),
        ("azure", "TIMESTAMP,ContextTokens,GeneratedTokens\n", " holds no prompt"),
    ],
)
def test_bad_rows_of_token_traces(reader: str, content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        table(tmp_path, reader, content)
    assert str(caught.value) == f"{tmp_path / 't.csv'}{message}"


@real
@pytest.mark.parametrize(
    ("name", "count", "length", "seconds"),
    [("conv", 19_366, 22_361_870, 3501.721937), ("code", 8819, 18_059_974, 3435.948056)],
)
def test_the_real_azure_traces(name: str, count: int, length: int, seconds: float) -> None:
    path = TRACES / f"azure_llm_2023_{name}.csv"
    prompts = read(f"azure:{path}", Options(scale_lengths=0.01), ignore)
    assert len(prompts) == count
    assert prompts[-1].at == round(seconds * S)
    assert sum(map(len, map(text, prompts))) == pytest.approx(length * 0.01, rel=0.02)
    assert len({text(prompt)[0] for prompt in prompts}) == count
