"""Providers by name: `--model openai/gpt-4o-mini`, or `--provider openai`, instead of address, key variable and API.

Pure. A setting that is given wins over that of the provider.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

from loadstone.config.server import Server
from loadstone.errors import ConfigError

AUTHORIZATION = "Authorization"
# Protocol where none is set.
DEFAULT_API = "chat"
S = TypeVar("S", bound=Server)


class Provider(Struct, frozen=True):
    """A provider of models.

    url: root of the API's version.
    key: environment variable with the key; None for local servers, whose key is in the usual one, if they need any.
    header: the header with the key; all but Authorization take the bare key.
    """

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
# The header with a key, by its environment variable.
_HEADERS = {provider.key: provider.header for provider in PROVIDERS.values()}


def resolve(config: S, provider: str | None = None) -> S:
    """Return the settings with those of their provider where they have none of their own.

    The provider is the one named here, else `config.provider`, else what a model's name begins with where there is no
    URL. With a URL the whole name is the server's (vLLM serves models called `openai/gpt-oss-20b`).

    Raises ConfigError for an unknown provider.
    """
    name = provider or config.provider
    if name is None and config.url is None and config.model:
        # The provider that all models begin with; their names lose it.
        models = config.model.split(",") if len(config.models) > 1 else [config.model]
        prefix = models[0].partition("/")[0]
        if prefix in PROVIDERS and all(model.startswith(f"{prefix}/") for model in models):
            name = prefix
            bare_names = ",".join(model.removeprefix(f"{prefix}/") for model in models)
            config = replace(config, model=bare_names)
    if name is None:
        return config
    known = PROVIDERS.get(name)
    if known is None:
        near = difflib.get_close_matches(name, PROVIDERS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(f"--provider takes {', '.join(PROVIDERS)}, not {name!r}{hint}", field="provider")
    return replace(
        config,
        provider=name,
        url=config.url or known.url,
        api=config.api or (None if config.body_template is not None else known.api),
        api_key_env=config.api_key_env or known.key,
    )


def default_max_tokens_field(config: Server) -> str:
    """Return the field with the maximum number of output tokens that the provider of a chat API asks for."""
    hosts = [urlsplit(url).hostname or "" for url in config.urls]
    newer = all(host == "api.openai.com" or host.endswith(".openai.azure.com") for host in hosts) and bool(hosts)
    return "max_completion_tokens" if newer else "max_tokens"


def key_header(variable: str, key: str) -> tuple[str, str]:
    """Return the header with a key, as (name, value), by the environment variable that the key is from."""
    header = _HEADERS.get(variable, AUTHORIZATION)
    return header, f"Bearer {key}" if header == AUTHORIZATION else key


def carries_key(header: str) -> bool:
    """Return True if a header carries keys."""
    return header.lower() in {name.lower() for name in _HEADERS.values()}
