"""A protocol by a template, for servers that no other protocol fits.

The body is JSON with %p for the prompt and %m for the model, as in EvalScope's --query-template. Paths such as
`choices.0.delta.content` say where the text and the token counts are in a response. Such servers may stream by
server-sent events or not stream. What ends their streams is unknown: the end of the HTTP response ends the answer.
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
    decode_again,
    overlay,
    prompt_text,
    reject_fixed_length,
    sampling_fields,
)
from loadstone.apis.lenient import read_count
from loadstone.apis.server_errors import error_message
from loadstone.errors import ConfigError, DataError
from loadstone.records import Prompt, Usage

_PLACEHOLDER = re.compile("%[pm]")
# Names under which a usage object may have its prompt tokens and its completion tokens.
_COUNTS = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
# Fields of a response that an error message lists at most.
_FIELDS_SHOWN = 12
_MISSING: Any = object()
_decode = msgspec.json.Decoder().decode


class TemplateAPI(API):
    """POST to `path`; by default the URL is the whole address.

    template: JSON text, or `@FILE` to read it from. `"%p"` alone becomes the token ids of a prompt that has them, and
        its messages as the value of `messages`; anywhere else %p is the prompt as text.
    text_path: path of the text in an event or response.
    usage_path: path of an object with `prompt_tokens` and `completion_tokens`, or `input_tokens` and `output_tokens`.

    Raises ConfigError.
    """

    probe_first = True
    marks_end = False
    unused: tuple[str, ...] = ("usage", "output_len")

    def __init__(self, template: str, text_path: str | None, usage_path: str | None = None, path: str = "") -> None:
        self.path = path
        self._template = _read_template(template)
        if not text_path:
            raise ConfigError(
                "--body-template needs --text-path, where the text of an answer is: choices.0.text, say",
                field="text_path",
            )
        self.names_model = "%m" in json.dumps(self._template)
        if not self.names_model:
            self.unused = (*self.unused, "model")
        self._text_path = text_path
        self._usage_path = usage_path
        self._unseen_paths = dict.fromkeys(filter(None, (text_path, usage_path)))
        self._fields: str | None = None

    def new_parser(self) -> TemplateAPI:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, _unseen_paths=dict(self._unseen_paths))
        return copy

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        reject_fixed_length(settings, "template")
        sampling_fields(settings, {}, "template")
        if settings.temperature is not None:
            raise ConfigError(
                "--api template sends the template and no --temperature: write it into the template",
                field="temperature",
            )
        body: dict[str, Any] = _fill(self._template, prompt, settings.model)
        return overlay(body, settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        if data == b"[DONE]":
            return Event(done=True)
        return self._parse(data)

    def parse_response(self, data: bytes) -> Event:
        event = self._parse(data)
        missing = self.missing()
        if missing is not None and event.error is None:
            raise BadEventError(missing)
        return event

    def missing(self) -> str | None:
        """Return the path that led nowhere and the fields there were instead, as a message, or None."""
        path = next(iter(self._unseen_paths), None)
        if path is None or self._fields is None:
            return None
        return f"nothing at {path} in the answer, which has {self._fields}"

    def _parse(self, data: bytes) -> Event:
        try:
            response = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            response = decode_again(Any, data, exc)
        text = self._value_at(response, self._text_path)
        counts = self._value_at(response, self._usage_path)
        if text is _MISSING and isinstance(response, dict) and response.get("error"):
            return Event(error=error_message(response["error"]))
        if self._unseen_paths:
            fields = list(_leaf_paths(response))[:_FIELDS_SHOWN]
            self._fields = ", ".join(fields) or type(response).__name__
        usage = None if counts is _MISSING or counts is None else _usage(counts, self._usage_path)
        if text is _MISSING or text is None:
            return Event(usage=usage)
        if not isinstance(text, str):
            raise BadEventError(f"{self._text_path} leads to {text!r:.80}, which is no text")
        return Event([Delta(answer=text)], usage, done=True)

    def _value_at(self, response: Any, path: str | None) -> Any:
        """Return the value at a path, or _MISSING."""
        if path is None:
            return _MISSING
        value = response
        for step in path.split("."):
            if isinstance(value, dict) and step in value:
                value = value[step]
            elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            else:
                return _MISSING
        self._unseen_paths.pop(path, None)
        return value


def _read_template(source: str) -> dict[str, Any]:
    """Return the template of `--body-template`. Raises ConfigError."""
    where, text, file = "--body-template", source, None
    if source.startswith("@"):
        where = file = source[1:]
        try:
            text = Path(where).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            sentence = f"cannot read the template {where}: give --body-template @FILE or JSON"
            raise ConfigError(sentence, field="body_template", file=where) from exc
    try:
        template = json.loads(text)
    except (ValueError, RecursionError) as exc:
        line = exc.lineno if isinstance(exc, json.JSONDecodeError) else None
        position = where if line is None else f"{where}, line {line}"
        sentence = f"{position}: a template is JSON, and this is not: {exc}"
        raise ConfigError(sentence, field="body_template", file=file, line=line) from exc
    if not isinstance(template, dict):
        sentence = f"{where}: a template is a JSON object, not {type(template).__name__}"
        raise ConfigError(sentence, field="body_template", file=file)
    if "%p" not in json.dumps(template):
        sentence = f"{where} has no %p, so that no prompt would be sent: write %p where the prompt goes"
        raise ConfigError(sentence, field="body_template", file=file)
    return template


def _fill(value: Any, prompt: Prompt, model: str, name: str = "") -> Any:
    """Return a value of the template, which is called `name`, with its placeholders filled."""
    if isinstance(value, dict):
        return {key: _fill(item, prompt, model, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, prompt, model) for item in value]
    if not isinstance(value, str):
        return value
    if value == "%p" and prompt.tokens is not None:
        return prompt.tokens
    if value == "%p" and name == "messages":
        return prompt.messages if prompt.messages is not None else [{"role": "user", "content": prompt.text or ""}]
    if "%p" in value and prompt.tokens is not None:
        raise DataError(f'token ids ({prompt.id}) only fit where the template has "%p" and nothing else')
    return _PLACEHOLDER.sub(lambda match: model if match[0] == "%m" else prompt_text(prompt), value)


def _leaf_paths(response: Any, parent: str = "") -> Iterator[str]:
    """Yield the paths of the values in a response."""
    inner = (
        response.items() if isinstance(response, dict) else enumerate(response) if isinstance(response, list) else ()
    )
    for step, value in inner:
        path = f"{parent}.{step}" if parent else str(step)
        if isinstance(value, dict | list) and value:
            yield from _leaf_paths(value, path)
        else:
            yield path


def _usage(counts: Any, path: str | None) -> Usage:
    if isinstance(counts, dict):
        values = [next((counts[name] for name in names if name in counts), None) for names in _COUNTS]
        if any(value is not None for value in values) or not counts:
            return Usage(*map(read_count, values))
    raise BadEventError(f"{path} leads to {counts!r:.80}, which is no object with prompt_tokens and completion_tokens")
