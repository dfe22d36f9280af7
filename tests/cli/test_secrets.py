"""API keys appear in no file and in no output."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from support import sentences as sentences
from support.run_files import PARTS, tree
from support.servers import (
    MODELS,
    Asked,
    loadstone,
    refused,
    scripted,
)

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.clean_folder


KEY = "sk-live-51f0c9a2e7d84b3f"


def _bearer(asked: Asked) -> str:
    return asked.headers.get("authorization", "")


SECRETS: dict[str, tuple[list[str], dict[str, str], Callable[[Asked], str]]] = {
    "environment": ([], {"OPENAI_API_KEY": KEY}, _bearer),
    "own variable": (["--api-key-env", "MY_KEY"], {"MY_KEY": KEY}, _bearer),
    "authorization": (["--header", f"Authorization: Bearer {KEY}"], {}, _bearer),
    "bare authorization": (["--header", f"authorization: {KEY}"], {}, _bearer),
    "x-api-key": (["--header", f"x-api-key: {KEY}"], {}, lambda asked: asked.headers.get("x-api-key", "")),
    "cookie": (["--header", f"Cookie: a=b; session={KEY}"], {}, lambda asked: asked.headers.get("cookie", "")[12:]),
    "extra body": (
        ["--extra-body", json.dumps({"vendor": {"api_key": KEY}})],
        {},
        lambda asked: (asked.body or {}).get("vendor", {}).get("api_key", ""),
    ),
    "query": (["--url", f"URL/v1?api_key={KEY}"], {}, lambda asked: asked.path),
}


def at(url: str, flags: list[str]) -> list[str]:
    """The flags for the server at `url`, which one of them may name itself."""
    return [*([] if "--url" in flags else ["--url", url]), *(flag.replace("URL", url) for flag in flags)]


WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]}


def _error(words: str) -> str:
    return json.dumps({"error": {"message": words}})


# What the server says to GET and to the POST of each number; {} is what it saw of the key.
TELLTALES: dict[str, Callable[[Asked, str], tuple[int, str]]] = {
    "answers": lambda asked, seen: (200, json.dumps(WHOLE)),
    "401": lambda asked, seen: (401, _error(f"Incorrect API key provided: {seen}. Find it at example.org")),
    "500": lambda asked, seen: (500, f'<html>\nno such key {seen!r} or "{seen}"\n</html>'),
    "error in a 200": lambda asked, seen: (200, _error(f"bad key {seen}")),
    "cut short": lambda asked, seen: (500, "x" * (500 - 12) + seen),
    "not JSON": lambda asked, seen: (200, f"{{{seen}"),
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("telltale", TELLTALES)
def test_keys_are_written_nowhere(secret: str, telltale: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    flags, environment, look = SECRETS[secret]
    seen: list[str] = []
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def script(asked: Asked) -> tuple[int, str]:
        if asked.method == "GET":
            return 200, MODELS
        seen.append(look(asked))
        return TELLTALES[telltale](asked, seen[-1].removeprefix("Bearer "))

    with scripted(script) as url:
        arguments = [*at(url, flags), "--no-stream", "--save-text"]
        done = loadstone(capsys, "run", *arguments, "-n", 2, "-c", 1, "-o", "run")
    assert len(seen) == 2
    assert all(KEY in text for text in seen)
    assert done.status == (0 if telltale == "answers" else 1)
    kept = [*tree().items(), ("stdout", done.out.encode()), ("stderr", done.err.encode())]
    assert len(kept) == len(PARTS) + 2
    assert [name for name, content in kept if KEY[:10].encode() in content] == []


@pytest.mark.parametrize("secret", [name for name in SECRETS if name != "extra body"])
def test_keys_are_not_shown_by_a_refusal(secret: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server quotes the key when it is asked for its models."""
    flags, environment, look = SECRETS[secret]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with scripted(lambda asked: (401, _error(f"no such key: {look(asked)}"))) as url:
        said = refused(capsys, "run", *at(url, flags))
    assert "(HTTP 401: no such key: " in said
    assert "***" in said
    assert KEY[:10] not in said
