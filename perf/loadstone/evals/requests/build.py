"""From an item to what is sent: the question as a text or as messages, a request for each answer that is wanted.

Texts and messages are put together as lm-eval 0.4.13 does it (api/task.py, fewshot_context and build_qa_turn;
api/utils.py), so that equal templates give equal prompts. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from loadstone.samples import Question, Sample
from loadstone.tasks.spec import Generation, Mode, Task

# Of the first pass, where answers are sampled; the next pass has the next number.
SEED = 1234
# Stop texts that a request may have, by OpenAI's rule, which vLLM 0.32 has too, of chats and of completions.
MAX_STOPS = 4
Form = Literal["text", "messages"]
Message = dict[str, Any]


class EvalRequest(Struct, frozen=True, kw_only=True):
    """One request of an evaluation, whoever made it: a task of ours, or an instance of lm-eval's.

    id: unlike any other in the evaluation, and the same each time it is put together from the same settings.
    asked: the context, as a text (completions) or as messages (chat).
    settings: of a generation: `max_tokens`, `stop`, `temperature` and whatever else the request is to say.
    continuation: of which the log-likelihood is wanted after the context, with its delimiter; letters: those of which
    the log-probability as first token is wanted, with their delimiter.
    attempt: the pass, from 0.
    later: what the user says after the answer, and after the next: one conversation, answered as a whole or not at all.
    tokens: ids of context and continuation, which go instead of the text where a tokenizer is asked; context: how many
    of them are the context's.
    """

    id: str
    mode: Mode
    prompt: str | list[Message]
    settings: dict[str, Any] = {}
    continuation: str | None = None
    letters: list[str] = []
    attempt: int = 0
    later: list[str] = []
    tokens: list[int] | None = None
    context_tokens: int | None = None


class RequestOptions(Struct, frozen=True, kw_only=True):
    """What all items of a task have in common. `settings`: of a generation; `repeat`: passes."""

    mode: Mode
    form: Form = "messages"
    system: str | None = None
    multiturn: bool = False
    settings: dict[str, Any] = {}
    repeat: int = 1


class Item(Struct, frozen=True):
    """A sample and what is asked for it: of each request (a choice has one for each continuation), one a pass."""

    sample: Sample
    requests: list[list[EvalRequest]]


def generation_settings(task: Task, gen: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the task's generation, those asked for over them. lm-eval's default temperature is 0."""
    spec = task.generation or Generation(template="", filters=())
    limit = {} if "max_completion_tokens" in gen else {"max_tokens": spec.max_tokens}
    found = {**limit, "temperature": 0.0, "stop": list(spec.stop), **spec.settings, **gen}
    return {name: value for name, value in found.items() if value is not None and value != []}


def cut_stops(settings: dict[str, Any], honored: int | None = None) -> dict[str, Any]:
    """With no more stop texts than are sure to be taken. `seen`: how many were seen to be heeded, see probe.py."""
    stop, most = settings.get("stop"), MAX_STOPS
    if (honored is not None and honored > most) or not isinstance(stop, list) or len(stop) <= most:
        return settings
    return {**settings, "stop": stop[:most]}


def cut_at_stop(text: str, settings: Mapping[str, Any]) -> str:
    """An answer up to its first stop text, whether that was sent or not; as lm-eval's postprocess_generated_text."""
    stop = settings.get("stop")
    for each in stop if isinstance(stop, list) else ():
        text = text.partition(each)[0] if each else text
    return text


def build_item(sample: Sample, options: RequestOptions) -> Item:
    """All requests of a sample."""
    asked = (
        as_text(sample.ask, options.system)
        if options.form == "text"
        else as_messages(sample.ask, options.system, options.multiturn)
    )
    between = _delimiter(sample.ask, options.form)
    name = f"{sample.task}:{sample.doc_id}"
    parts = _PARTS[options.mode](sample, between)
    return Item(sample, [
        [_wanted(f"{name}{suffix}", asked, options, attempt, part) for attempt in range(options.repeat)]
        for suffix, part in parts
    ])  # fmt: skip


def as_text(asked: Question, system: str | None = None) -> str:
    """Everything as one text, for completions."""
    opening = join(system, asked.description, asked.between)
    shots = "".join(_turns_text(asked, shot) for shot in asked.shots)
    return opening + shots + _question(asked) + asked.prefix


def as_messages(asked: Question, system: str | None = None, multiturn: bool = False) -> list[Message]:
    """As a chat: description and system prompt as the system's words; examples before the question in the message of
    the user, or as turns of their own; what the answer is to begin with as the beginning of the assistant's."""
    opening = join(system, asked.description, asked.between)
    said = [_message("system", opening)] if opening else []
    if multiturn:
        for question, answer in asked.shots:
            said += [_message("user", question), _message("assistant", join(asked.prefix, answer))]
        said.append(_message("user", asked.query))
    else:
        shots = "".join(_turns_text(asked, shot) for shot in asked.shots)
        said.append(_message("user", shots + asked.query))
    return [*said, _message("assistant", asked.prefix)] if asked.prefix else said


def join(first: str | None, second: str | None, delimiter: str = " ") -> str:
    """Both, with the delimiter between them unless one of them has white space there."""
    if not first or not second:
        return first or second or ""
    return first + (delimiter if _needs(first, second) else "") + second


def readable(asked: str | Sequence[Message]) -> str:
    """What was asked, for people to read."""
    if isinstance(asked, str):
        return asked
    return "\n".join(f"<{message.get('role')}>\n{message.get('content')}" for message in asked)


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _turns_text(asked: Question, shot: tuple[str, str]) -> str:
    question, answer = shot
    between = asked.delimiter if not asked.prefix or _needs(question, asked.prefix) else ""
    return question + between + join(asked.prefix, answer) + asked.between


def _question(asked: Question) -> str:
    between = asked.delimiter if asked.prefix and _needs(asked.query, asked.prefix) else ""
    return asked.query + between


def _needs(first: str, second: str) -> bool:
    return bool(first) and not (first[-1].isspace() or second[0].isspace())


def _delimiter(asked: Question, form: Form) -> str:
    """Before a continuation: the turn of a chat begins with it, unless it was begun already."""
    begun = asked.prefix and not asked.prefix[-1].isspace()
    return asked.delimiter if form == "text" or begun else ""


Part = dict[str, Any]


def _generated(sample: Sample, between: str) -> list[tuple[str, Part]]:  # noqa: ARG001  as the others
    return [("", {"later": sample.later})]


def _continued(sample: Sample, between: str) -> list[tuple[str, Part]]:
    return [(f"/{number}", {"continuation": between + choice}) for number, choice in enumerate(sample.choices)]


def _lettered(sample: Sample, between: str) -> list[tuple[str, Part]]:
    return [("", {"letters": [between + choice for choice in sample.choices]})]


_PARTS = {"generation": _generated, "loglikelihood": _continued, "letters": _lettered}


def _wanted(name: str, asked: str | list[Message], how: RequestOptions, attempt: int, part: Part) -> EvalRequest:
    settings = how.settings if how.mode == "generation" else {}
    if settings.get("temperature"):
        settings = {**settings, "seed": settings.get("seed", SEED) + attempt}
    ident = f"{name}#{attempt}" if attempt else name
    return EvalRequest(id=ident, mode=how.mode, prompt=asked, settings=settings, attempt=attempt, **part)
