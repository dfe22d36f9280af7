"""Prompts and the context of the model: what is left out, what is only named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadstone.dataset.context import MARGIN, estimate_tokens, fitting
from loadstone.records import Prompt
from support.servers import Asked, Capture, loadstone, scripted
from support.servers import records as rows_of

pytestmark = pytest.mark.clean_folder
STREAM = 'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def test_the_estimate_is_rather_too_high() -> None:
    assert estimate_tokens(Prompt(id="a", text="word " * 300)) == 500  # some 300 with most tokenizers
    assert estimate_tokens(Prompt(id="b", text="\u4f60\u597d" * 50)) == 100
    assert estimate_tokens(Prompt(id="c", tokens=[1, 2, 3])) == 3
    assert estimate_tokens(Prompt(id="d", messages=[{"role": "user", "content": "x" * 300}])) > 100


def test_prompts_fit_together_with_their_answers() -> None:
    rows = [Prompt(id=str(size), text="x" * size) for size in (30, 300, 3000)]
    assert [prompt.id for prompt in fitting(rows, 110 + MARGIN, 8)] == ["30", "300"]
    assert [prompt.id for prompt in fitting(rows, 110 + MARGIN, 100)] == ["30"]
    assert fitting(rows, 5, None) == []


@pytest.mark.parametrize("field", ["max_model_len", "context_length", "max_context_length", "context_window"])
def test_bundled_prompts_that_are_too_long_are_left_out(field: str, capsys: Capture) -> None:
    sizes: list[int] = []

    def script(asked: Asked) -> tuple[int, str]:
        if asked.method == "GET":
            return 200, json.dumps({"data": [{"id": "m", field: 1024}]})
        sizes.append(len(json.dumps(asked.body["messages"])))
        return 200, STREAM

    with scripted(script) as url:
        done = loadstone(
            capsys, "run", "--url", url, "-n", 300, "-c", 8, "-o", "run", "--quiet", "--no-scrape", "--no-html"
        )
    assert done.status == 0, done.err
    assert "prompts are left out: the model's context has 1,024 tokens" in done.err
    assert len(rows_of(Path("run"))) == 300
    assert max(sizes) < 3 * 1024 + 200


def test_prompts_of_ones_own_are_only_named(capsys: Capture) -> None:
    Path("own.txt").write_text("x" * 9000 + "\nshort\n")
    with scripted(
        lambda asked: (200, '{"data":[{"id":"m","max_model_len":1024}]}' if asked.method == "GET" else STREAM)
    ) as url:
        done = loadstone(
            capsys,
            "run",
            "--url",
            url,
            "--dataset",
            "own.txt",
            "-n",
            2,
            "-o",
            "run",
            "--quiet",
            "--no-scrape",
            "--no-html",
        )
    assert "1 of 2 prompts may be longer than the model's context" in done.err
    assert len(rows_of(Path("run"))) == 2
