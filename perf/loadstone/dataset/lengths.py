"""Apply length options to existing texts: skip rows, cut or repeat texts, draw the output length of each request.

measure.py defines what a length is. Generators and traces make their own lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from loadstone.config.distributions import Distribution
from loadstone.dataset.source import Options, Source
from loadstone.dataset.synthetic import random_values
from loadstone.errors import DataError
from loadstone.records import Prompt

if TYPE_CHECKING:
    from loadstone.dataset.synthetic.measure import LengthMeasure

# Options that skip rows, with their flags.
LIMITS = {"min_input_len": "--min-input-len", "max_input_len": "--max-input-len", "max_total_len": "--max-total-len"}


def limit_flags(options: Options) -> list[str]:
    """Return the flags among LIMITS that are given."""
    return [flag for name, flag in LIMITS.items() if getattr(options, name) is not None]


def apply_lengths(prompts: Iterable[Prompt], source: Source, options: Options) -> list[Prompt]:
    """Return the prompts with the lengths that the options request. Raises DataError.

    Where lengths must be counted, no more prompts are read than the run needs.
    """
    output = None
    if options.output_len is not None:
        output = random_values.parse_length("--output-len", options.output_len)
        if output.constant is None:  # a constant is left to the settings of all requests
            prompts = _draw_output_lengths(prompts, output, source, options)
    counts_input = options.input_len is not None or bool(limit_flags(options))
    needed = options.count if options.in_order and (counts_input or options.tokenizer) else None
    if not counts_input:
        return list(islice(prompts, needed))

    from loadstone.dataset.synthetic.measure import length_measure  # imports tokenizers

    measure = length_measure(options)
    if measure.unit == "words":
        source.notice(
            f"{source.name}: lengths are counted in words, not tokens; give --tokenizer for exact token lengths"
        )
    default_output = 0 if output is None or output.constant is None else round(output.constant)
    kept = _within_limits(prompts, needed, default_output, source, options, measure)
    if options.input_len is None:
        return kept
    return _resize(kept, random_values.parse_length("--input-len", options.input_len), source, options, measure)


def _draw_output_lengths(
    prompts: Iterable[Prompt], distribution: Distribution, source: Source, options: Options
) -> Iterator[Prompt]:
    """Yield the prompts with an output length for each turn that has none."""
    rng = random_values.generator(options, random_values.OUTPUT)
    for prompt in prompts:
        if any(turn.output_len is None for turn in _turns(prompt)):
            source.used.add("output_len")
        drawn = distribution.draw_integers(rng, 1 + len(prompt.later))
        first, *later = (
            turn if turn.output_len is not None else replace(turn, output_len=length)
            for turn, length in zip(_turns(prompt), drawn, strict=True)
        )
        yield replace(first, later=later)


def _within_limits(
    prompts: Iterable[Prompt],
    needed: int | None,
    default_output: int,
    source: Source,
    options: Options,
    measure: LengthMeasure,
) -> list[Prompt]:
    """Return at most `needed` prompts that are within the limits. Raises DataError if none is."""
    count, kept = 0, []
    for count, prompt in enumerate(prompts, 1):  # noqa: B007
        if not limit_flags(options) or _is_within(prompt, default_output, options, measure):
            kept.append(prompt)
        if len(kept) == needed:
            break
    flags, skipped = " and ".join(limit_flags(options)), count - len(kept)
    if count and not kept:
        raise DataError(
            f"{source.name}: none of {count:,} rows lies within {flags}, counted in {measure.unit}", file=source.name
        )
    if skipped:
        source.notice(f"{source.name}: {skipped:,} of {count:,} rows lie outside {flags} and were passed over")
    return kept


def _is_within(prompt: Prompt, default_output: int, options: Options, measure: LengthMeasure) -> bool:
    """Return True if a prompt is within the limits.

    The input of a conversation is all that its turns send. An answer counts with the output length of its turn, or
    `default_output`.
    """
    turns = _turns(prompt)
    input_len = sum(measure.count(text) for turn in turns for text in _texts(turn))
    output_len = sum(turn.output_len or default_output for turn in turns)
    low, high = options.min_input_len or 0, options.max_input_len
    fits = low <= input_len and (high is None or input_len <= high)
    return fits and (options.max_total_len is None or input_len + output_len <= options.max_total_len)


def _resize(
    prompts: list[Prompt], distribution: Distribution, source: Source, options: Options, measure: LengthMeasure
) -> list[Prompt]:
    """Return the prompts with each turn's text cut or repeated to a drawn length."""
    rng = random_values.generator(options, random_values.INPUT)
    resized, misses = [], 0
    for prompt in prompts:
        drawn = distribution.draw_integers(rng, 1 + len(prompt.later))
        results = [_resize_turn(turn, length, measure) for turn, length in zip(_turns(prompt), drawn, strict=True)]
        misses += sum(not exact for _, exact in results)
        first, *later = (turn for turn, _ in results)
        resized.append(replace(first, later=later))
    if misses:
        reason = "the tokenizer merges what was cut or they hold no text"
        source.notice(f"{source.name}: {misses:,} prompts miss their length, because {reason}")
    return resized


def _resize_turn(turn: Prompt, length: int, measure: LengthMeasure) -> tuple[Prompt, bool]:
    """Return the turn with its text cut or repeated, and True if the length is exact.

    The text is the prompt's own, or of messages that of the last one by the user.
    """
    message, part = None, None
    text = turn.text
    if text is None and (message := _last_user_message(turn)) is not None:
        part, text = next(_text_parts((turn.messages or [])[message]), (None, None))
    if text is None or not text.strip():
        return turn, False
    resized = measure.resize(text, length)
    exact = measure.count(resized) == length
    if message is None or turn.messages is None:
        known = exact and measure.unit == "tokens"
        return replace(turn, text=resized, input_len=length if known else turn.input_len), exact
    content: Any = resized
    if part is not None:
        parts = turn.messages[message]["content"]
        content = [*parts[:part], {**parts[part], "text": resized}, *parts[part + 1 :]]
    messages = [*turn.messages]
    messages[message] = {**messages[message], "content": content}
    return replace(turn, messages=messages), exact


def _turns(prompt: Prompt) -> list[Prompt]:
    return [prompt, *prompt.later]


def _texts(prompt: Prompt) -> Iterator[str]:
    """Yield all texts of a request."""
    yield prompt.text or ""
    yield from prompt.documents or ()
    for message in prompt.messages or ():
        yield from (text for _, text in _text_parts(message))


def _last_user_message(prompt: Prompt) -> int | None:
    """Return the index of the user's last message."""
    indices = [index for index, message in enumerate(prompt.messages or ()) if message.get("role") == "user"]
    return indices[-1] if indices else None


def _text_parts(message: dict[str, Any]) -> Iterator[tuple[int | None, str]]:
    """Yield the texts of a message, each with its index in the list of parts, None if the content is one text."""
    content = message.get("content")
    if isinstance(content, str):
        yield None, content
    elif isinstance(content, list):
        for index, part in enumerate(content):
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield index, part["text"]
