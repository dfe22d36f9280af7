"""Generators: presets and flags, exact lengths, what prompts share and where they differ, conversations, seeds."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from loadstone.dataset import Options, read
from loadstone.dataset import tokenizer as tokens
from loadstone.dataset.source import Source
from loadstone.dataset.synthetic.prompts import PRESETS, USES
from loadstone.dataset.synthetic.text import UNIQUE, Segment, text_generator
from loadstone.dataset.synthetic.words import WORDS
from loadstone.errors import UsageError
from loadstone.records import Prompt
from support.tokenizers import Merging, Spaced

WORDED = "lengths are counted in words, not tokens; give --tokenizer for exact token lengths"
KINDS = pytest.mark.parametrize(
    "tokenizer", [None, Spaced(WORDS), Merging()], ids=["words", "tokens", "merging tokens"]
)


def made(
    name: str, tokenizer: Spaced | None, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[list[Prompt], list[str]]:
    notices: list[str] = []
    monkeypatch.setattr(tokens, "load", lambda _name: tokenizer)
    prompts = read(name, Options(tokenizer=tokenizer and "toy", **options), notices.append)
    return prompts, notices


def split(text: str | None, tokenizer: Spaced | None) -> list[Any]:
    """The words or the token ids of a text."""
    return tokenizer.encode(text or "") if tokenizer else (text or "").split()


@pytest.mark.parametrize(
    ("name", "count", "inputs", "outputs"),
    [
        ("random", 1000, (1024, 1024), (128, 128)),
        ("synthetic", 1000, (16, 2048), (4, 512)),
        ("prefix_repetition", 1000, (512, 512), (128, 128)),
        ("generated-shared-prefix", 1024, (2176, 2176), (256, 256)),
    ],
)
def test_presets(
    name: str, count: int, inputs: tuple[int, int], outputs: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, notices = made(name, None, monkeypatch)
    assert [prompt.id for prompt in prompts] == [f"{name}:{number}" for number in range(1, count + 1)]
    assert all(inputs[0] <= (prompt.input_len or 0) <= inputs[1] for prompt in prompts)
    assert all(outputs[0] <= (prompt.output_len or 0) <= outputs[1] for prompt in prompts)
    assert [prompt.input_len for prompt in prompts] == [len(split(prompt.text, None)) for prompt in prompts]
    assert notices == [
        f"{name}: {count:,} prompts are made, as the number of requests is not known",
        f"{name}: {WORDED}",
    ]


def test_the_general_preset_spreads_its_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, _ = made("synthetic", None, monkeypatch, count=2000, prefix_len=0)
    for drawn, mean, sd in (
        ([prompt.input_len or 0 for prompt in prompts], 512, 128),
        ([prompt.output_len or 0 for prompt in prompts], 128, 32),
    ):
        assert abs(sum(drawn) / len(drawn) - mean) <= 4 * sd / len(drawn) ** 0.5


@KINDS
def test_groups_share_their_prefix_and_nothing_else(tokenizer: Spaced | None, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"prefix_len": 20, "prefix_count": 8, "input_len": 12}
    prompts, notices = made("generated-shared-prefix", tokenizer, monkeypatch, **options)
    assert len(prompts) == 8 * USES
    ids = [split(prompt.text, tokenizer) for prompt in prompts]
    assert {len(each) for each in ids} == {32}
    groups = Counter(tuple(each[:20]) for each in ids)
    assert sorted(groups.values()) == [USES] * 8
    assert len({each[0] for each in ids}) == 8
    assert len({tuple(each[20:22]) for each in ids}) == len(ids)
    assert not [notice for notice in notices if "miss" in notice]


def test_prefixes_come_in_shuffled_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, _ = made("prefix_repetition", None, monkeypatch, count=3 * 10 * USES, prefix_len=2, input_len=1)
    order = [" ".join(split(prompt.text, None)[:2]) for prompt in prompts]
    rounds = [order[at : at + 10 * USES] for at in range(0, len(order), 10 * USES)]
    assert [sorted(Counter(each).values()) for each in rounds] == [[USES] * 10] * 3
    assert len({tuple(each) for each in rounds}) == 3
    assert any(a == b for a, b in itertools.pairwise(order))


@KINDS
def test_all_parts_together(tokenizer: Spaced | None, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"system_len": 9, "prefix_len": "uniform(4,7)", "prefix_count": 3, "input_len": "uniform(5,8)"}
    prompts, _ = made("random", tokenizer, monkeypatch, count=60, **options)
    ids = [split(prompt.text, tokenizer) for prompt in prompts]
    assert [len(each) for each in ids] == [prompt.input_len for prompt in prompts]
    assert len({tuple(each[:9]) for each in ids}) == 1
    assert len({tuple(each[9:13]) for each in ids}) == 3
    assert set(map(len, ids)) <= set(range(9 + 4 + 5, 9 + 7 + 8 + 1))
    assert len({prompt.text for prompt in prompts}) == 60


@KINDS
def test_one_prefix_for_all_as_with_vllm(tokenizer: Spaced | None, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, _ = made("random", tokenizer, monkeypatch, count=20, prefix_len=5, input_len=4)
    ids = [split(prompt.text, tokenizer) for prompt in prompts]
    assert len({tuple(each[:5]) for each in ids}) == 1
    assert len({each[5] for each in ids}) == 20


@KINDS
def test_conversations(tokenizer: Spaced | None, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"turns": "uniform(1,4)", "think_time": "uniform(500ms,2s)", "input_len": "uniform(5,9)"}
    prompts, _ = made("synthetic", tokenizer, monkeypatch, count=80, system_len=6, output_len=3, **options)
    assert {len(prompt.later) for prompt in prompts} == {0, 1, 2, 3}
    assert {prompt.think for prompt in prompts} == {0.0}
    turns = [turn for prompt in prompts for turn in prompt.later]
    assert [turn.id for turn in turns] == [
        f"{prompt.id}.{number}" for prompt in prompts for number in range(2, len(prompt.later) + 2)
    ]
    assert [len(split(turn.text, tokenizer)) for turn in turns] == [turn.input_len for turn in turns]
    assert {turn.input_len for turn in turns} == {5, 6, 7, 8, 9}
    assert {turn.output_len for turn in turns} == {3}
    assert all(0.5 <= turn.think <= 2 for turn in turns)
    assert len({turn.think for turn in turns}) == len(turns)
    assert len({turn.text for turn in turns}) == len(turns)


@KINDS
@pytest.mark.parametrize("name", PRESETS)
def test_one_seed_one_set_and_a_longer_run_begins_with_the_shorter(
    name: str, tokenizer: Spaced | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"input_len": "exp(9,min=4)", "output_len": "gamma(9,3)", "turns": "uniform(1,3)"}
    options |= {"think_time": "exp(2)", "prefix_len": "uniform(3,9)", "prefix_count": 4, "system_len": "uniform(3,9)"}
    short, _ = made(name, tokenizer, monkeypatch, count=30, seed=3, **options)
    again, _ = made(name, tokenizer, monkeypatch, count=30, seed=3, **options)
    longer, _ = made(name, tokenizer, monkeypatch, count=150, seed=3, **options)
    other, _ = made(name, tokenizer, monkeypatch, count=30, seed=4, **options)
    assert short == again == longer[:30]
    assert not {prompt.text for prompt in short} & {prompt.text for prompt in other}


@KINDS
def test_a_part_depends_on_its_key_alone_and_a_longer_one_begins_with_the_shorter(
    tokenizer: Spaced | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "load", lambda _name: tokenizer)

    def texts(*parts: tuple[Segment, ...]) -> list[list[Any]]:
        made = text_generator(Source("x", None, print), Options(tokenizer=tokenizer and "toy"))
        return [split(made.generate(each), tokenizer) for each in parts]

    one, two, long = Segment(UNIQUE, 7, 10), Segment(UNIQUE, 5000, 10), Segment(UNIQUE, 7, 33)
    both = texts((one,), (two,), (long,), (two, one), (two, long))
    assert both[0] == both[2][:10]
    assert both[3] == both[4][:20]
    assert both[3][:10] == both[1]
    assert [*reversed(texts((two, long), (long,), (two,), (one,)))] == [both[0], both[1], both[2], both[4]]
    assert both[0] != both[1]


def test_where_pairs_of_tokens_run_out_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _, notices = made("random", Spaced(WORDS[:64]), monkeypatch, count=64 * 64 + 4, input_len=2)
    assert notices == [
        "random: 4,100 prompts are more than the 64 tokens that can begin one in toy;"
        " after those, prompts differ within their first two tokens",
        "random: 4 prompts miss their length or begin like another,"
        " because the tokenizer merges what it decoded or has too few tokens",
    ]


LAW = (
    "a number, uniform(LOW,HIGH), normal(MEAN,SD), lognormal(MEAN,SD), exp(MEAN), gamma(MEAN,SD), zipf(A)"
    " or choice(A,B,...), each with min=A and max=B if wanted"
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_len": "many"}, f"--input-len takes {LAW}, not 'many'"),
        ({"output_len": "normal(5)"}, f"--output-len takes {LAW}, not 'normal(5)'"),
        ({"turns": "poisson(3)"}, f"--turns takes {LAW}, not 'poisson(3)'"),
        ({"think_time": "soon"}, f"--think-time takes {LAW}, not 'soon'"),
        ({"turns": 0}, "--turns must be at least 1, not 0"),
        ({"system_len": -1}, "--system-len must be at least 0, not -1"),
        ({"prefix_len": -1}, "--prefix-len must be at least 0, not -1"),
        ({"prefix_count": 0, "prefix_len": 3}, "--prefix-count must be at least 1, not 0"),
        ({"prefix_count": 5}, "--prefix-count 5 needs the prefixes' length: give --prefix-len as well"),
        (
            {"input_len": 10**8},
            "--input-len gives 100,000,000, above 10,000,000; a distribution takes a bound, such as max=4096",
        ),
        (
            {"range_ratio": 0.5},
            "--range-ratio spreads a plain number, and --input-len is a distribution: "
            "give a number, or no --range-ratio",
        ),
        ({"seed": -1}, "--seed must be at least 0, not -1"),
    ],
)
def test_impossible_wishes(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        made("synthetic", None, monkeypatch, count=3, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", PRESETS)
def test_generators_read_no_file(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(f"{name}:x.txt", Options(), print)
    assert str(caught.value) == f"{name} reads no file: say --dataset {name}, with --input-len and --output-len"
