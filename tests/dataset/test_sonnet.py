"""Prompts out of a poem's lines: what they share, how long they are, and one set for one seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loadstone.dataset import Options, read, resolve, tokenizer
from loadstone.dataset.synthetic.sonnet import ASK
from loadstone.errors import UsageError
from loadstone.records import Prompt


class Letters:
    """A tokenizer whose tokens are characters."""

    def encode(self, text: str) -> list[int]:
        return [*map(ord, text)]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))

    def count(self, text: str) -> int:
        return len(text)


def sonnets(spec: str = "sonnet", **options: Any) -> tuple[list[Prompt], list[str]]:
    notices: list[str] = []
    return read(spec, Options(**options), notices.append), notices


def test_the_bundled_poem_by_words() -> None:
    prompts, notices = sonnets(count=50)
    lines = resolve.bundled()["poem"].read_text("utf-8").splitlines()
    shared = ASK + "\n".join(lines[:22]) + "\n"  # (200 - 17) words of 8.2 a line
    assert len(lines) == 112
    assert all((prompt.text or "").startswith(shared) for prompt in prompts)
    assert all(set((prompt.text or "").removeprefix(ASK).split("\n")) <= set(lines) for prompt in prompts)
    assert all(530 <= len((prompt.text or "").split()) <= 550 for prompt in prompts)
    assert len({prompt.text for prompt in prompts}) == 50
    assert {prompt.output_len for prompt in prompts} == {150}
    assert {prompt.input_len for prompt in prompts} == {None}
    assert notices == ["sonnet: lengths are counted in words, not tokens; give --tokenizer for token lengths"]


def test_one_seed_one_set() -> None:
    assert sonnets(count=5) == sonnets(count=5)
    assert sonnets(count=5) != sonnets(count=5, seed=1)
    assert [prompt.id for prompt in sonnets(count=2)[0]] == ["sonnet:1", "sonnet:2"]
    assert len(sonnets()[0]) == 1000


def test_a_poem_of_ones_own_by_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "load", lambda _: Letters())
    (tmp_path / "p.txt").write_text("aaaa\nbbbb\n\ncccc\n")
    spec, base = f"sonnet:{tmp_path / 'p.txt'}", len(ASK)
    prompts, notices = sonnets(spec, count=9, tokenizer="x", prefix_len=base + 8, input_len=base + 20, output_len=7)
    assert all((prompt.text or "").startswith(f"{ASK}aaaa\nbbbb\n") for prompt in prompts)
    assert {prompt.input_len for prompt in prompts} == {base + 19}
    assert {prompt.output_len for prompt in prompts} == {7}
    assert notices == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_len": 17}, "sonnet: --input-len 17 is too short for the request (17) and --prefix-len"),
        ({"input_len": 150}, "sonnet: --input-len 150 is too short for the request (17) and --prefix-len"),
        ({"prefix_len": "uniform(1,2)"}, "sonnet takes one number as --prefix-len, not 'uniform(1,2)'"),
    ],
)
def test_what_does_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        sonnets(count=1, **options)
    assert str(caught.value) == message
