"""Providers by name: `--model openai/gpt-4o-mini`, or `--provider openai`, instead of address, key variable and API.

Pure. Only the parts that were not given are taken from the table, so each of them can be another.
"""

from __future__ import annotations

import difflib
from collections.abc import Container

import msgspec
from msgspec import Struct

from loadstone.config.schema import Config
from loadstone.errors import UsageError

AUTHORIZATION = "Authorization"


class Provider(Struct, frozen=True):
    """url: the version's root. key: environment variable with the key; None for servers of one's own, whose key is in
    the usual one, if they want any. header: which brings it; all but Authorization take the bare key."""

    url: str
    key: str | None = None
    api: str = "chat"
    header: str = AUTHORIZATION


PROVIDERS: dict[str, Provider] = {
    "openai": Provider("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": Provider("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "messages", "x-api-key"),
    "gemini": Provider("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    "openrouter": Provider("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "groq": Provider("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": Provider("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "deepseek": Provider("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "together": Provider("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "vllm": Provider("http://127.0.0.1:8000/v1"),
    "lmstudio": Provider("http://127.0.0.1:1234/v1"),
    "ollama": Provider("http://127.0.0.1:11434/v1"),
}
_HEADERS = {one.key: one.header for one in PROVIDERS.values()}


def resolve(config: Config, provider: str | None = None, given: Container[str] = ()) -> Config:
    """The configuration with whatever its provider says and it does not. Raises UsageError for an unknown provider.

    The provider is the one named here, else `config.provider`, else what a model's name begins with where there is no
    URL: with one the name is the server's, as a whole (vLLM serves models called `openai/gpt-oss-20b`).
    `given`: settings that somebody has said, even if they are what they would have been anyway.
    """
    name = provider or config.provider
    if name is None:
        name, config = _from_model(config)
    if name is None:
        return config
    known = PROVIDERS.get(name)
    if known is None:
        near = difflib.get_close_matches(name, PROVIDERS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"--provider takes {', '.join(PROVIDERS)}, not {name!r}{hint}")
    told = "api" in given or config.api != Config().api or config.body_template is not None
    return msgspec.structs.replace(
        config,
        provider=name,
        url=config.url or known.url,
        api=config.api if told else known.api,
        api_key_env=config.api_key_env or known.key,
    )


def _from_model(config: Config) -> tuple[str | None, Config]:
    """The provider that all models begin with, and the configuration without it."""
    if config.url is not None or not config.model:
        return None, config
    parts = config.model.split(",") if len(config.models) > 1 else [config.model]
    name = parts[0].partition("/")[0]
    if name not in PROVIDERS or not all(part.startswith(f"{name}/") for part in parts):
        return None, config
    return name, msgspec.structs.replace(config, model=",".join(part.removeprefix(f"{name}/") for part in parts))


def key_header(variable: str, key: str) -> tuple[str, str]:
    """The header that brings a key, by the environment variable that it is from."""
    header = _HEADERS.get(variable, AUTHORIZATION)
    return header, f"Bearer {key}" if header == AUTHORIZATION else key


def carries_key(header: str) -> bool:
    """Whether a header is one by which keys are brought."""
    return header.lower() in {one.lower() for one in _HEADERS.values()}
