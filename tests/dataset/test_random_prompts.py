"""Made-up prompts: lengths to the token, first tokens of their own, one set for one seed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from loadstone.dataset import Options, read
from loadstone.dataset import tokenizer as tokens
from loadstone.dataset.synthetic.words import WORDS
from loadstone.errors import UsageError
from loadstone.records import Prompt
from support.tokenizers import Merging, Spaced


class Stuck(Spaced):
    """Every text is one token too many."""

    def encode(self, text: str) -> list[int]:
        ids = super().encode(text)
        return [*ids, 0] if len(ids) > 2 else ids


def made(
    tokenizer: tokens.Tokenizer | None, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[list[Prompt], list[str]]:
    notices: list[str] = []
    monkeypatch.setattr(tokens, "load", lambda _name: tokenizer)
    name = None if tokenizer is None else "toy"
    return read("random", Options(tokenizer=name, **options), notices.append), notices


@pytest.mark.parametrize("tokenizer", [Spaced(WORDS), Merging()], ids=["spaced", "merging"])
def test_every_prompt_has_exactly_its_tokens(tokenizer: Spaced, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, notices = made(tokenizer, monkeypatch, count=100, input_len=40, output_len=7)
    assert [tokenizer.count(prompt.text or "") for prompt in prompts] == [40] * 100
    assert {prompt.output_len for prompt in prompts} == {7}
    assert [prompt.id for prompt in prompts] == [f"random:{number}" for number in range(1, 101)]
    assert notices == []


@pytest.mark.parametrize("tokenizer", [Spaced(WORDS), Merging()], ids=["spaced", "merging"])
@pytest.mark.parametrize("input_len", [1, 2, 30])
def test_prompts_differ_from_the_first_token(
    tokenizer: Spaced, input_len: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, _ = made(tokenizer, monkeypatch, count=100, input_len=input_len)
    assert len({tokenizer.encode(prompt.text or "")[0] for prompt in prompts}) == 100


def test_more_prompts_than_first_tokens_differ_in_their_first_two(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Spaced(WORDS[:80])
    prompts, notices = made(tokenizer, monkeypatch, count=300, input_len=20)
    ids = [tokenizer.encode(prompt.text or "") for prompt in prompts]
    assert {len(each) for each in ids} == {20}
    assert len({each[0] for each in ids}) == 80
    assert len({tuple(each[:2]) for each in ids}) == 300
    assert notices == [
        "random: 300 prompts are more than the 80 tokens that can begin one in toy;"
        " after those, prompts differ within their first two tokens"
    ]


def test_no_special_token_no_broken_character_and_nothing_to_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, _ = made(Spaced(WORDS), monkeypatch, count=200, input_len=50)
    texts = [prompt.text or "" for prompt in prompts]
    assert all(text == text.strip() and "\ufffd" not in text and "<|" not in text for text in texts)


def test_a_tokenizer_that_never_agrees_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, notices = made(Stuck(WORDS), monkeypatch, count=5, input_len=9)
    assert len(prompts) == 5
    assert notices == [
        "random: 5 prompts miss their length or begin like another,"
        " because the tokenizer merges what it decoded or has too few tokens"
    ]


class Mute(Spaced):
    def vocabulary(self) -> list[int]:
        return []


def test_a_tokenizer_without_plain_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^the tokenizer toy has no token that is plain text;"):
        made(Mute(WORDS), monkeypatch, count=5)


def test_without_a_tokenizer_lengths_are_words_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, notices = made(None, monkeypatch, count=3 * len(WORDS), input_len=6)
    texts = [(prompt.text or "").split(" ") for prompt in prompts]
    assert {len(words) for words in texts} == {6}
    assert len({words[0] for words in texts}) == len(texts)
    assert notices == ["random: lengths are counted in words, not tokens; give --tokenizer for exact token lengths"]


def test_words_are_plain_and_each_is_there_once() -> None:
    assert len(set(WORDS)) == len(WORDS) >= 300
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)


def test_defaults_are_those_of_vllm_and_the_count_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, notices = made(None, monkeypatch)
    assert len(prompts) == 1000
    assert {len((prompt.text or "").split()) for prompt in prompts} == {1024}
    assert {prompt.output_len for prompt in prompts} == {128}
    assert notices[0] == "random: 1,000 prompts are made, as the number of requests is not known"


@pytest.mark.parametrize(
    ("length", "ratio", "low", "high"),
    [(100, 0.1, 90, 110), (10, 0.25, 7, 13), (7, 0.0, 7, 7), (1, 0.9, 1, 2), (3, 0.99, 1, 6)],
)
def test_lengths_spread_over_the_whole_range(
    monkeypatch: pytest.MonkeyPatch, length: int, ratio: float, low: int, high: int
) -> None:
    options = {"count": 2000, "input_len": length, "output_len": length, "range_ratio": ratio}
    prompts, _ = made(None, monkeypatch, **options)
    for drawn in ([len((p.text or "").split()) for p in prompts], [p.output_len or 0 for p in prompts]):
        assert set(drawn) == set(range(low, high + 1))
        spread = math.sqrt(((high - low + 1) ** 2 - 1) / 12 / len(drawn))
        assert abs(sum(drawn) / len(drawn) - (low + high) / 2) <= 4 * spread


@pytest.mark.parametrize("tokenizer", [None, Spaced(WORDS)], ids=["words", "tokens"])
def test_one_seed_one_set_and_a_longer_run_begins_with_the_shorter(
    tokenizer: Spaced | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"input_len": 12, "range_ratio": 0.5}
    short, _ = made(tokenizer, monkeypatch, count=50, seed=3, **options)
    again, _ = made(tokenizer, monkeypatch, count=50, seed=3, **options)
    longer, _ = made(tokenizer, monkeypatch, count=120, seed=3, **options)
    other, _ = made(tokenizer, monkeypatch, count=50, seed=4, **options)
    assert short == again == longer[:50]
    assert not {prompt.text for prompt in short} & {prompt.text for prompt in other}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_len": 0}, "--input-len must be at least 1, not 0"),
        ({"output_len": -1}, "--output-len must be at least 1, not -1"),
        ({"range_ratio": 1.0}, "--range-ratio must be at least 0 and below 1, not 1"),
        ({"range_ratio": -0.5}, "--range-ratio must be at least 0 and below 1, not -0.5"),
        ({"range_ratio": math.nan}, "--range-ratio must be at least 0 and below 1, not nan"),
        ({"seed": -1}, "--seed must be at least 0, not -1"),
        ({"count": 0}, "random holds no prompt"),
    ],
)
def test_impossible_wishes(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(None, monkeypatch, **options)
    assert str(caught.value) == message


def test_random_reads_no_file() -> None:
    with pytest.raises(UsageError, match=r"^random reads no file: say --dataset random,"):
        read("random:x.txt", Options(), print)
