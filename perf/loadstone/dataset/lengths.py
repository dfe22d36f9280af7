"""Texts of a dataset by their lengths: passed over, cut or tiled to size, and how much output is asked of each.

Reads no file; what a length is, is ruler.py's affair. Generators and traces make their own lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from msgspec.structs import replace

from loadstone.config.distributions import Distribution
from loadstone.dataset.source import Options, Source
from loadstone.dataset.synthetic import random_values
from loadstone.dataset.synthetic.measure import LengthMeasure, length_measure
from loadstone.errors import UsageError
from loadstone.records import Prompt

LIMITS = {"min_input_len": "--min-input-len", "max_input_len": "--max-input-len", "max_total_len": "--max-total-len"}


def limit_flags(options: Options) -> list[str]:
    """The flags given that pass over rows."""
    return [flag for name, flag in LIMITS.items() if getattr(options, name) is not None]


def apply_lengths(prompts: Iterable[Prompt], source: Source, options: Options) -> list[Prompt]:
    """The prompts as the lengths of the options want them, no more than are needed where counting takes long. Raises
    UsageError."""
    output = None if options.output_len is None else random_values.parse_length("--output-len", options.output_len)
    if output and output.constant is None:
        prompts = _with_output(prompts, output, options)
    measured = options.input_len is not None or bool(limit_flags(options))
    needed = options.count if options.in_order and (measured or options.tokenizer) else None
    if not measured:
        return list(islice(prompts, needed))
    measure = length_measure(options)
    if measure.unit == "words":
        source.notice(
            f"{source.name}: lengths are counted in words, not tokens; give --tokenizer for exact token lengths"
        )
    found = _kept(prompts, needed, source, options, measure)
    if options.input_len is None:
        return found
    return _cut(found, random_values.parse_length("--input-len", options.input_len), source, options, measure)


def _with_output(prompts: Iterable[Prompt], law: Distribution, options: Options) -> Iterator[Prompt]:
    """Each turn that says no output length gets one; a constant would be left to the settings of all requests."""
    rng = random_values.generator(options, random_values.OUTPUT)
    for prompt in prompts:
        drawn = law.draw_integers(rng, 1 + len(prompt.later))
        first, *later = (_asking(turn, length) for turn, length in zip(_turns(prompt), drawn, strict=True))
        yield replace(first, later=later)


def _asking(turn: Prompt, length: int) -> Prompt:
    return turn if turn.output_len is not None else replace(turn, output_len=length)


def _kept(
    prompts: Iterable[Prompt], needed: int | None, source: Source, options: Options, measure: LengthMeasure
) -> list[Prompt]:
    seen, kept = 0, []
    for seen, prompt in enumerate(prompts, 1):  # noqa: B007
        if not limit_flags(options) or _inside(prompt, options, measure):
            kept.append(prompt)
        if len(kept) == needed:
            break
    flags, passed = " and ".join(limit_flags(options)), seen - len(kept)
    if seen and not kept:
        raise UsageError(f"{source.name}: none of {seen:,} rows lies within {flags}, counted in {measure.unit}")
    if passed:
        source.notice(f"{source.name}: {passed:,} of {seen:,} rows lie outside {flags} and were passed over")
    return kept


def _inside(prompt: Prompt, options: Options, measure: LengthMeasure) -> bool:
    """A conversation is as long as all that is asked in it. Answers count where their length is said or recorded."""
    asked = sum(measure.count(text) for turn in _turns(prompt) for text in _texts(turn))
    answers = sum(turn.output_len or _constant(options) for turn in _turns(prompt))
    low, high = options.min_input_len or 0, options.max_input_len
    fits = low <= asked and (high is None or asked <= high)
    return fits and (options.max_total_len is None or asked + answers <= options.max_total_len)


def _constant(options: Options) -> int:
    law = None if options.output_len is None else random_values.parse_length("--output-len", options.output_len)
    return 0 if law is None or law.constant is None else round(law.constant)


def _cut(
    prompts: list[Prompt], law: Distribution, source: Source, options: Options, measure: LengthMeasure
) -> list[Prompt]:
    rng = random_values.generator(options, random_values.INPUT)
    found, missed = [], 0
    for prompt in prompts:
        drawn = law.draw_integers(rng, 1 + len(prompt.later))
        made = [_to_length(turn, length, measure) for turn, length in zip(_turns(prompt), drawn, strict=True)]
        missed += sum(not exact for _, exact in made)
        first, *later = (turn for turn, _ in made)
        found.append(replace(first, later=later))
    if missed:
        why = "the tokenizer merges what was cut or they hold no text"
        source.notice(f"{source.name}: {missed:,} prompts miss their length, because {why}")
    return found


def _to_length(turn: Prompt, length: int, measure: LengthMeasure) -> tuple[Prompt, bool]:
    """The turn with its text cut or tiled, and whether that came out exactly."""
    text = _asked(turn)
    if text is None or not text.strip():
        return turn, False
    made = measure.resize(text, length)
    exact = measure.count(made) == length
    known = exact and measure.unit == "tokens" and turn.text is not None
    return replace(_with(turn, made), input_len=length if known else turn.input_len), exact


def _turns(prompt: Prompt) -> list[Prompt]:
    return [prompt, *prompt.later]


def _texts(prompt: Prompt) -> Iterator[str]:
    """All texts of a request."""
    yield prompt.text or ""
    yield from prompt.documents or ()
    for message in prompt.messages or ():
        yield from (text for _, text in _parts(message))


def _asked(prompt: Prompt) -> str | None:
    """The text that --input-len is about: of messages the user's last."""
    if prompt.text is not None:
        return prompt.text
    at = _last(prompt)
    return None if at is None else next((text for _, text in _parts((prompt.messages or [])[at])), None)


def _with(prompt: Prompt, text: str) -> Prompt:
    """The prompt with another text where `_asked` found it."""
    at = _last(prompt)
    if prompt.text is not None or at is None or prompt.messages is None:
        return replace(prompt, text=text)
    message = prompt.messages[at]
    place = next(place for place, _ in _parts(message))
    content: Any = text
    if place is not None:
        parts = message["content"]
        content = [*parts[:place], {**parts[place], "text": text}, *parts[place + 1 :]]
    return replace(
        prompt, messages=[*prompt.messages[:at], {**message, "content": content}, *prompt.messages[at + 1 :]]
    )


def _last(prompt: Prompt) -> int | None:
    found = [at for at, message in enumerate(prompt.messages or ()) if message.get("role") == "user"]
    return found[-1] if found else None


def _parts(message: dict[str, Any]) -> Iterator[tuple[int | None, str]]:
    """The texts of a message, each with its place in a list of parts, if it is one."""
    content = message.get("content")
    if isinstance(content, str):
        yield None, content
    elif isinstance(content, list):
        for place, part in enumerate(content):
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield place, part["text"]
