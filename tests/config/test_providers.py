"""Test providers: what they set, which settings win over them, and which header carries their key."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from loadstone import apis
from loadstone.config import providers, secrets
from loadstone.config.providers import PROVIDERS, resolve
from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.transport import address


def parts(config: Config) -> tuple[Any, ...]:
    return config.url, config.model, config.api, config.api_key_env


OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com/v1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"model": "openai/gpt-4o-mini"}, (OPENAI, "gpt-4o-mini", "chat", "OPENAI_API_KEY")),
        ({"model": "anthropic/claude-x"}, (ANTHROPIC, "claude-x", "messages", "ANTHROPIC_API_KEY")),
        ({"model": "groq/openai/gpt-oss-20b"}, (PROVIDERS["groq"].url, "openai/gpt-oss-20b", "chat", "GROQ_API_KEY")),
        ({"model": "vllm/org/name"}, ("http://127.0.0.1:8000/v1", "org/name", "chat", None)),
        ({"model": "openai/a=3,openai/b=1"}, (OPENAI, "a=3,b=1", "chat", "OPENAI_API_KEY")),
        ({"model": "openai/a=3,groq/b=1"}, (None, "openai/a=3,groq/b=1", None, None)),
        ({"model": "meta-llama/Llama"}, (None, "meta-llama/Llama", None, None)),
        ({"model": "openai/gpt-oss-20b", "url": "http://h"}, ("http://h", "openai/gpt-oss-20b", None, None)),
        ({"provider": "openrouter", "model": "openrouter/auto"},
         (PROVIDERS["openrouter"].url, "openrouter/auto", "chat", "OPENROUTER_API_KEY")),
        ({"provider": "anthropic", "model": "m", "url": "http://proxy", "api": "completions", "api_key_env": "MY"},
         ("http://proxy", "m", "completions", "MY")),
        ({}, (None, None, None, None)),
    ],
)  # fmt: skip
def test_what_a_provider_adds(given: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = resolve(Config(**given))
    assert parts(found) == expected
    assert parts(resolve(found)) == expected, "once more changes nothing"


def test_an_api_that_was_said_stays_even_if_it_is_the_usual_one() -> None:
    assert resolve(Config(model="anthropic/m", api="chat")).api == "chat"


def test_the_provider_named_by_the_caller_goes_first() -> None:
    assert resolve(Config(model="openai/x"), "openrouter").model == "openai/x"


def test_a_provider_that_is_not_known() -> None:
    with pytest.raises(UsageError, match=r"--provider takes openai, .*, not 'opnai' \(did you mean openai\?\)"):
        resolve(Config(provider="opnai"))


@pytest.mark.parametrize("name", PROVIDERS)
def test_where_requests_of_each_go(name: str) -> None:
    one = PROVIDERS[name]
    target, base = address.parse_url(one.url)
    api = {"chat": "/chat/completions", "messages": "/messages"}[one.api]
    assert one.api in apis.APIS
    assert address.join_path(base, f"/v1{api}") == urlsplit(one.url).path + api
    assert target.secure == (one.key is not None)


def test_anthropics_key_has_a_header_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-secret-key")
    config = resolve(Config(model="anthropic/m"))
    assert secrets.request_headers(config) == (("x-api-key", "a-secret-key"),)
    assert secrets.find_secrets(config) == ["a-secret-key"]
    given = resolve(Config(model="anthropic/m", header={"X-Api-Key": "other-key"}))
    assert secrets.request_headers(given) == (("X-Api-Key", "other-key"),)
    assert secrets.key_hint(given) == "the X-Api-Key given with --header is not the right one"


def test_a_key_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    with pytest.raises(UsageError, match="the key is to be in GROQ_API_KEY"):
        secrets.request_headers(resolve(Config(model="groq/m")))


def test_the_usual_key_is_a_bearer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-1234")
    assert secrets.request_headers(resolve(Config(model="openai/m"))) == (("Authorization", "Bearer k-1234"),)
    assert providers.key_header("ANY", "k") == ("Authorization", "Bearer k")
