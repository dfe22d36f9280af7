"""What the protocols share: typed JSON decoding, error messages, prompts as text or messages, lengths, sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from loadstone import records
from loadstone.apis.base import BadEventError, Delta, RequestSettings, ToolCall, ToolFunction
from loadstone.errors import ConfigError, DataError
from loadstone.records import Message, Prompt

# The names that `RequestSettings.sampling` may hold, in the order in which bodies have them.
SAMPLING = (
    *("top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"),
    *("min_tokens", "stop", "seed", "logprobs", "n"),
)
# Settings of a run that have another name than the sampling parameter.
_FIELDS = {"seed": "sampling_seed", "n": "choices"}


def json_decoder(form: Any) -> Callable[[bytes], Any]:
    """Return a function that decodes the fields of a type from JSON and skips all others.

    A field of another type than the protocol's gets its default (`lenient.py`). The function raises BadEventError.
    """
    decode = msgspec.json.Decoder(form).decode

    def read(data: bytes) -> Any:
        try:
            return decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            return decode_again(form, data, exc)

    return read


def decode_again(form: Any, data: bytes, exc: Exception) -> Any:
    """Decode data leniently after a strict decoder failed with `exc`. Raises BadEventError with the reason of `exc`."""
    from loadstone.apis.lenient import decode_leniently  # few servers need it

    try:
        return decode_leniently(form, data)
    except (BadEventError, UnicodeDecodeError) as other:
        raise bad_event(data, exc) from other


def bad_event(data: bytes, exc: Exception) -> BadEventError:
    """Return the error for bytes that are not an event. Its reason for invalid UTF-8 does not depend on the decoder."""
    excerpt = repr(data[:80].decode("utf-8", "replace")) + ("..." if len(data) > 80 else "")
    try:
        data.decode()
        reason = str(exc)
    except UnicodeDecodeError as bad:
        reason = f"byte 0x{data[bad.start]:02x} is not UTF-8"
    return BadEventError(f"not an answer of this API ({reason}): {excerpt}")


def content_text(content: Any) -> str:
    """Return content as text: it may also be a list of parts, as in multi-modal prompts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def prompt_text(prompt: Prompt) -> str:
    """Return the prompt as one text; messages as their contents, one to a line."""
    if prompt.text is not None:
        return prompt.text
    return "\n".join(content_text(message.get("content")) for message in prompt.messages or [])


def prompt_messages(prompt: Prompt, api: str) -> list[Message]:
    """Return the prompt as messages. Raises DataError for token ids."""
    reject_token_ids(prompt, api)
    return records.messages(prompt)


def reject_token_ids(prompt: Prompt, api: str) -> None:
    """Raise DataError for a prompt of token ids."""
    if prompt.tokens is not None:
        raise DataError(
            f"--api {api} takes no token ids ({prompt.id}): say --api completions, or leave them as text", field="api"
        )


def output_limit(prompt: Prompt, settings: RequestSettings) -> int | None:
    """Return the output tokens to ask for: the row's own number, else the run's."""
    return prompt.output_len if prompt.output_len is not None else settings.output_len


def same_names(names: str) -> dict[str, str]:
    """Return names that a protocol shares with `SAMPLING`, as a table for `sampling_fields`."""
    return {name: name for name in names.split()}


def sampling_fields(settings: RequestSettings, names: Mapping[str, str], api: str) -> dict[str, Any]:
    """Return the sampling parameters under the names of a protocol.

    names: the protocol's name for each parameter that it supports. Raises ConfigError for any other parameter.
    """
    unsupported = next((name for name in settings.sampling if name not in names), None)
    if unsupported:
        raise ConfigError(
            f"--api {api} knows no {unsupported}: leave it out, or send what the server takes by --extra-body",
            field=_FIELDS.get(unsupported, unsupported),
        )
    return {names[name]: settings.sampling[name] for name in SAMPLING if name in settings.sampling}


def reject_fixed_length(settings: RequestSettings, api: str) -> None:
    """Raise ConfigError if the run fixes the output length, for protocols that cannot enforce one."""
    if settings.ignore_eos or settings.exact_length:
        flag = "--match-output-length" if settings.exact_length else "--ignore-eos"
        raise ConfigError(
            f"--api {api} cannot make a server go on to a given length: leave out {flag}, or take --api chat",
            field="match_output_length" if settings.exact_length else "ignore_eos",
        )


def stop_as_list(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the fields with the stop text `name` as a list, for protocols that take nothing else."""
    return {**fields, name: [fields[name]]} if isinstance(fields.get(name), str) else fields


def overlay(body: dict[str, Any], *overrides: dict[str, Any]) -> dict[str, Any]:
    """Update the body with the fields of the run and of the row, and return it.

    Objects are merged field by field. A value of None removes a field, as in JSON merge patches (RFC 7396).
    """
    for override in overrides:
        for name, value in override.items():
            known = body.get(name)
            if isinstance(known, dict) and isinstance(value, dict):
                body[name] = overlay(dict(known), value)
            elif value is None:
                body.pop(name, None)
            else:
                body[name] = value
    return body


def parse_arguments(arguments: Any) -> dict[str, Any]:
    """Return the arguments of a recorded tool call as an object; an empty one if they are not JSON of an object."""
    try:
        value = msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def image_url(part: dict[str, Any]) -> str:
    """Return the URL of an `image_url` part of a chat message."""
    link = part.get("image_url")
    return str(link.get("url") if isinstance(link, dict) else link)


def function_call_delta(index: int, call_id: str | None, name: str | None, arguments: str | None) -> Delta:
    """Return the delta of a function call or a piece of one, as `messages` and `responses` send them."""
    kind = "function" if name is not None else None
    return Delta(tools=[ToolCall(index, call_id, kind, ToolFunction(name, arguments))], output=bool(name or arguments))
