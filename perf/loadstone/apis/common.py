"""What the protocols share: typed JSON, the words of an error, prompts as texts or messages, lengths, sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from loadstone import records
from loadstone import text as foreign
from loadstone.apis.base import BadEventError, RequestSettings
from loadstone.errors import UsageError
from loadstone.records import Prompt

Message = records.Message
# All that `RequestSettings.sampling` may hold, in the order in which bodies have it.
SAMPLING = (
    *("top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"),
    *("min_tokens", "stop", "seed", "logprobs", "n"),
)


def json_decoder(form: Any) -> Callable[[bytes], Any]:
    """Decodes the fields of a type from JSON, and never looks at others. The reader raises BadEventError."""
    decode = msgspec.json.Decoder(form).decode

    def read(data: bytes) -> Any:
        try:
            return decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            return decode_repaired(decode, data, exc)

    return read


def decode_repaired(decode: Callable[[bytes], Any], data: bytes, exc: Exception) -> Any:
    """Decode what was refused by `exc` once more, with U+FFFD for lone surrogates. Raises BadEventError."""
    mended = foreign.replace_surrogate_escapes(data)
    if mended == data:
        raise bad_event(data, exc) from exc
    try:
        return decode(mended)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as other:
        raise bad_event(data, other) from other


def bad_event(data: bytes, exc: Exception) -> BadEventError:
    """Return the error of bytes that are no event. Bytes that are not UTF-8 have a sentence of ours in it."""
    excerpt = repr(data[:80].decode("utf-8", "replace")) + ("..." if len(data) > 80 else "")
    try:
        data.decode()
        reason = str(exc)
    except UnicodeDecodeError as bad:
        reason = f"byte 0x{data[bad.start]:02x} is not UTF-8"
    return BadEventError(f"not an answer of this API ({reason}): {excerpt}")


def error_message(error: Any) -> str:
    """The server's words in an error, which may be an object or a text."""
    if isinstance(error, dict):
        error = error.get("message") or error
    return foreign.clean(error)


def content_text(content: Any) -> str:
    """Content as text: it may also be a list of parts (Mistral's thinking models, and multi-modal prompts)."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def prompt_text(prompt: Prompt) -> str:
    """The prompt as one text; messages as their contents, one to a line."""
    if prompt.text is not None:
        return prompt.text
    return "\n".join(content_text(message.get("content")) for message in prompt.messages or [])


def prompt_messages(prompt: Prompt, api: str) -> list[Message]:
    """The prompt as messages. Raises UsageError for token ids."""
    reject_token_ids(prompt, api)
    return records.messages(prompt)


def reject_token_ids(prompt: Prompt, api: str) -> None:
    """Raises UsageError for a prompt of token ids."""
    if prompt.tokens is not None:
        raise UsageError(f"--api {api} takes no token ids ({prompt.id}): say --api completions, or leave them as text")


def output_limit(prompt: Prompt, settings: RequestSettings) -> int | None:
    """Output tokens to ask for: the row's own, else the run's."""
    return prompt.output_len if prompt.output_len is not None else settings.output_len


def has_exact_length(prompt: Prompt, settings: RequestSettings) -> bool:
    """Whether the answer is to have just the length that was asked for."""
    return settings.exact_length and output_limit(prompt, settings) is not None


def same_names(names: str) -> dict[str, str]:
    """Names that a protocol has in common with us, for `sampling`."""
    return {name: name for name in names.split()}


def sampling_fields(settings: RequestSettings, names: Mapping[str, str], api: str) -> dict[str, Any]:
    """The sampling parameters under the names of a protocol. Raises UsageError for those that it does not know."""
    foreign = next((name for name in settings.sampling if name not in names), None)
    if foreign:
        raise UsageError(f"--api {api} knows no {foreign}: leave it out, or send what the server takes by --extra-body")
    return {names[name]: settings.sampling[name] for name in SAMPLING if name in settings.sampling}


def reject_fixed_length(settings: RequestSettings, api: str) -> None:
    """Raises UsageError where a length is to be enforced that the protocol cannot enforce."""
    if settings.ignore_eos or settings.exact_length:
        flag = "--match-output-length" if settings.exact_length else "--ignore-eos"
        raise UsageError(
            f"--api {api} cannot make a server go on to a given length: leave out {flag}, or take --api chat"
        )


def stop_as_list(found: dict[str, Any], name: str) -> dict[str, Any]:
    """Stop texts as a list, for protocols that take nothing else."""
    return {**found, name: [found[name]]} if isinstance(found.get(name), str) else found


def overlay(body: dict[str, Any], *extras: dict[str, Any]) -> dict[str, Any]:
    """The body with fields of the run and of the row over it; those inside an object are laid over one by one."""
    for extra in extras:
        for name, value in extra.items():
            known = body.get(name)
            body[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return body
