"""Tokenizers, for exact prompt lengths and local token counts. The only door to transformers.

Imported only when a tokenizer is given. A folder is loaded without any network access; a model's name on the Hub is
left to the library, which honours HF_HUB_OFFLINE.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from loadstone.dataset import hub
from loadstone.errors import ConfigError, UsageError
from loadstone.records import Prompt, messages

INSTALL = "--tokenizer needs the transformers library: pip install 'loadstone[tokenizer]'"
# Names of tokenizers whose own code may run.
_trusted: set[str] = set()
# What a decoder writes for bytes that are no whole character.
REPLACEMENT = "\ufffd"


class Tokenizer(Protocol):
    """Text to token ids and back. No special tokens are added to the ids, and none are left out of the text."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def count(self, text: str) -> int: ...

    def apply_chat_template(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> str:
        """Return the messages in the model's chat template, up to where the assistant begins. Raises ConfigError."""
        ...

    def vocabulary(self) -> list[int]:
        """Return the ids of plain text, rising: not special, and stable if decoded and encoded again."""
        ...


def trust(name: str) -> None:
    """Let the code that comes with a tokenizer run in this process (`--trust-remote-code`)."""
    _trusted.add(name)


@cache
def load(name: str) -> Tokenizer:
    """Return the tokenizer in a folder, or that of a model on the Hub. It is loaded once. Raises ConfigError.

    Code that comes with it is run only if `trust` was called, and nobody is asked.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it gives advice about PyTorch on import
    try:
        import transformers
    except ImportError as exc:
        raise UsageError(INSTALL) from exc
    path = os.path.expanduser(name)
    local = os.path.isdir(path)
    if not local and (os.path.exists(path) or not _is_hub_name(name)):
        raise ConfigError(
            f"no tokenizer at {name!r}: give a folder with a tokenizer.json, or a model's name on the Hub",
            field="tokenizer",
        )
    trusted = name in _trusted
    if local and not trusted and _has_code(path):
        raise ConfigError(
            f"the tokenizer {name} comes with Python code of its own: read it, then give --trust-remote-code to run it",
            field="tokenizer",
        )
    unreachable = None if local else hub.why_unreachable()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            path, local_files_only=local or unreachable is not None, trust_remote_code=trusted
        )
    except Exception as exc:  # the library and its Rust core raise bare exceptions of every kind
        if unreachable is not None:
            raise ConfigError(
                f"cannot load the tokenizer {name}: it is neither a folder nor in the Hub's cache, and {unreachable};"
                " give a folder with a tokenizer.json",
                field="tokenizer",
            ) from exc
        hint = " (--trust-remote-code runs the code that comes with it)" if "trust_remote_code" in str(exc) else ""
        raise ConfigError(f"cannot load the tokenizer {name}{hint}: {_sentence(exc)}", field="tokenizer") from exc
    return _Pretrained(tokenizer)


def _has_code(folder: str) -> bool:
    """Return True if the tokenizer in a folder is a class of its own files."""
    try:
        content = json.loads((Path(folder) / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    mapped = content.get("auto_map") if isinstance(content, dict) else None
    return isinstance(mapped, dict) and "AutoTokenizer" in mapped


class _Pretrained:
    """A tokenizer of transformers as a `Tokenizer`."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False, verbose=False))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def count(self, text: str) -> int:
        return len(self.encode(text))

    def apply_chat_template(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> str:
        try:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)
        except Exception as exc:  # templates are programs, and raise whatever they like
            raise ConfigError(
                f"--apply-chat-template: the tokenizer cannot do it: {_sentence(exc)}", field="apply_chat_template"
            ) from exc
        return str(text)

    def vocabulary(self) -> list[int]:
        return list(self._vocabulary)

    @cached_property
    def _vocabulary(self) -> list[int]:
        added = {*self._tokenizer.all_special_ids, *self._tokenizer.get_added_vocab().values()}
        ids = sorted(set(self._tokenizer.get_vocab().values()) - added)
        texts = {token: text for token in ids if (text := self.decode([token])) and REPLACEMENT not in text}
        if not texts:
            return []
        encoded = self._tokenizer([*texts.values()], add_special_tokens=False, verbose=False)["input_ids"]
        return [token for token, back in zip(texts, encoded, strict=True) if list(back) == [token]]


def _is_hub_name(name: str) -> bool:
    """Return True for `model` or `owner/model`; anything else was meant as a path."""
    return bool(name) and not name.startswith((".", "~", "/")) and name.count("/") < 2 and "\\" not in name


def _sentence(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__


def apply_template(prompts: list[Prompt], tokenizer: str, options: dict[str, Any]) -> list[Prompt]:
    """Return the prompts as texts in the tokenizer's chat template, ready for the assistant. Raises ConfigError."""
    loaded = load(tokenizer)
    _refuse_turns(prompts, "--apply-chat-template")
    return [
        replace(prompt, text=loaded.apply_chat_template(messages(prompt), options), messages=None) for prompt in prompts
    ]


def tokenize(prompts: list[Prompt], tokenizer: str) -> list[Prompt]:
    """Return the prompts with token ids instead of texts. Raises ConfigError."""
    loaded = load(tokenizer)
    _refuse_turns(prompts, "--tokenize-prompt")
    chat = next((prompt.id for prompt in prompts if prompt.text is None and prompt.tokens is None), None)
    if chat is not None:
        raise ConfigError(f"--tokenize-prompt takes texts, but {chat} is a list of messages", field="tokenize_prompt")
    return [
        prompt if prompt.text is None else replace(prompt, text=None, tokens=loaded.encode(prompt.text))
        for prompt in prompts
    ]


def _refuse_turns(prompts: list[Prompt], flag: str) -> None:
    if any(prompt.later for prompt in prompts):
        raise ConfigError(
            f"{flag} is for single requests: the later turns of a conversation are only known as text",
            field=flag[2:].replace("-", "_"),
        )
