"""A protocol by a template: the body is given as JSON with %p for the prompt and %m for the model, as in EvalScope's
--query-template; paths such as `choices.0.delta.content` say where text and token counts stand in an answer.

For servers that nothing else fits, streaming by server-sent events or answering in one piece. What ends their streams
is not known: the end of the HTTP response is the end of the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from loadstone.apis.base import API, BadEventError, Delta, Event, RequestSettings
from loadstone.apis.common import (
    decode_repaired,
    error_message,
    overlay,
    prompt_text,
    reject_fixed_length,
    sampling_fields,
)
from loadstone.errors import UsageError
from loadstone.records import Prompt, Usage

_MARK = re.compile("%[pm]")
_COUNTS = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
_MISSING: Any = object()
_decode = msgspec.json.Decoder().decode


class TemplateAPI(API):
    """POST to `path`; by default the URL is the whole address.

    template: JSON text, or `@FILE` to read it from. `"%p"` alone becomes the token ids of a prompt that has them, and
    its messages where it is the value of `messages`; anywhere else %p is the prompt as text.
    text_path: to the text of an event or answer. usage_path: to an object with `prompt_tokens` and `completion_tokens`,
    or `input_tokens` and `output_tokens`. Raises UsageError.
    """

    probe_first = True

    def __init__(self, template: str, text_path: str | None, usage_path: str | None = None, path: str = "") -> None:
        self.path = path
        self._template = _template(template)
        if not text_path:
            raise UsageError("--body-template needs --text-path, where the text of an answer is: choices.0.text, say")
        self.names_model = "%m" in json.dumps(self._template)
        self._text_path, self._usage_path = text_path, usage_path
        self._unseen = dict.fromkeys(filter(None, (text_path, usage_path)))
        self._fields: str | None = None

    def new_parser(self) -> TemplateAPI:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, _unseen=dict(self._unseen))
        return copy

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        reject_fixed_length(settings, "template")
        sampling_fields(settings, {}, "template")
        if settings.temperature is not None:
            raise UsageError("--api template sends the template and no --temperature: write it into the template")
        filled: dict[str, Any] = _filled(self._template, prompt, settings.model)
        return overlay(filled, settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        if data == b"[DONE]":
            return Event(done=True)
        return self._read(data)

    def parse_response(self, data: bytes) -> Event:
        event = self._read(data)
        lacking = self.missing()
        if lacking is not None and event.error is None:
            raise BadEventError(lacking)
        return event

    def missing(self) -> str | None:
        """The path that nothing was found at, and what there was instead."""
        path = next(iter(self._unseen), None)
        return (
            None
            if path is None or self._fields is None
            else f"nothing at {path} in the answer, which has {self._fields}"
        )

    def _read(self, data: bytes) -> Event:
        try:
            found = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            found = decode_repaired(_decode, data, exc)
        text, counts = self._at(found, self._text_path), self._at(found, self._usage_path)
        if text is _MISSING and isinstance(found, dict) and found.get("error"):
            return Event(error=error_message(found["error"]))
        if self._unseen:
            self._fields = ", ".join(list(_leaves(found))[:12]) or type(found).__name__
        usage = None if counts is _MISSING or counts is None else _usage(counts, self._usage_path)
        if text is _MISSING or text is None:
            return Event(usage=usage)
        if not isinstance(text, str):
            raise BadEventError(f"{self._text_path} leads to {text!r:.80}, which is no text")
        return Event([Delta(answer=text)], usage, done=True)

    def _at(self, found: Any, path: str | None) -> Any:
        value = _MISSING if path is None else _follow(found, path)
        if value is not _MISSING:
            self._unseen.pop(path or "", None)
        return value


def _template(given: str) -> dict[str, Any]:
    where, source = "--body-template", given
    if given.startswith("@"):
        where = given[1:]
        try:
            source = Path(where).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise UsageError(f"cannot read the template {where}: give --body-template @FILE or JSON") from exc
    try:
        template = json.loads(source)
    except (ValueError, RecursionError) as exc:
        place = f", line {exc.lineno}" if isinstance(exc, json.JSONDecodeError) else ""
        raise UsageError(f"{where}{place}: a template is JSON, and this is not: {exc}") from exc
    if not isinstance(template, dict):
        raise UsageError(f"{where}: a template is a JSON object, not {type(template).__name__}")
    if "%p" not in json.dumps(template):
        raise UsageError(f"{where} has no %p, so that no prompt would be sent: write %p where the prompt goes")
    return template


def _filled(value: Any, prompt: Prompt, model: str, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, prompt, model, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, prompt, model) for item in value]
    if not isinstance(value, str):
        return value
    if value == "%p" and prompt.tokens is not None:
        return prompt.tokens
    if value == "%p" and name == "messages":
        return prompt.messages if prompt.messages is not None else [{"role": "user", "content": prompt.text or ""}]
    return _MARK.sub(lambda mark: model if mark[0] == "%m" else _words(prompt), value)


def _words(prompt: Prompt) -> str:
    if prompt.tokens is not None:
        raise UsageError(f'token ids ({prompt.id}) only fit where the template has "%p" and nothing else')
    return prompt_text(prompt)


def _follow(found: Any, path: str) -> Any:
    for step in path.split("."):
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return _MISSING
    return found


def _leaves(found: Any, path: str = "") -> Iterator[str]:
    """Where the values of an answer are, as paths."""
    inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for step, value in inner:
        place = f"{path}.{step}" if path else str(step)
        if isinstance(value, dict | list) and value:
            yield from _leaves(value, place)
        else:
            yield place


def _usage(counts: Any, path: str | None) -> Usage:
    told = (
        [next((counts[name] for name in names if name in counts), None) for names in _COUNTS]
        if (isinstance(counts, dict))
        else None
    )
    if told is None or not all(count is None or type(count) is int for count in told):
        raise BadEventError(
            f"{path} leads to {counts!r:.80}, which is no object with prompt_tokens and completion_tokens"
        )
    return Usage(*told)
