"""Builds the requests of a sample: its question as a text or as messages, and one request for each answer.

Texts and messages are put together as lm-eval 0.4.13 does it (api/task.py, fewshot_context and build_qa_turn;
api/utils.py), so that equal templates give equal prompts. Does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest, Message, RequestId
from loadstone.samples import Question, Sample
from loadstone.tasks.spec import Generation, Task

# Seed of the first pass if answers are sampled; each further pass adds 1. It is lm-eval's default seed.
SEED = 1234
# Stop texts that one request may have: OpenAI's limit for chats and completions, which vLLM 0.32 shares.
MAX_STOPS = 4


class Item(Struct, frozen=True):
    """A sample with its requests.

    requests: for each request of the sample (a choice has one for each continuation) one a pass
    """

    sample: Sample
    requests: list[list[EvalRequest]]


def generation_settings(task: Task, gen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the task's generation, overridden by `gen`. The default temperature is lm-eval's, 0."""
    spec = task.generation or Generation(template="", filters=())
    limit = {} if "max_completion_tokens" in gen else {"max_tokens": spec.max_tokens}
    settings = {**limit, "temperature": 0.0, "stop": list(spec.stop), **spec.settings, **gen}
    return {name: value for name, value in settings.items() if value is not None and value != []}


def cut_stops(settings: dict[str, Any], honored: int | None = None) -> dict[str, Any]:
    """Return the settings with no more stop texts than the server takes.

    honored: how many stop texts the server was seen to honor (ServerCapabilities.stops)
    """
    stop = settings.get("stop")
    if (honored is not None and honored > MAX_STOPS) or not isinstance(stop, list) or len(stop) <= MAX_STOPS:
        return settings
    return {**settings, "stop": stop[:MAX_STOPS]}


def cut_at_stop(text: str, settings: Mapping[str, Any]) -> str:
    """Return an answer up to its first stop text, sent or not: lm-eval's postprocess_generated_text."""
    stops = settings.get("stop")
    for stop in stops if isinstance(stops, list) else ():
        text = text.partition(stop)[0] if stop else text
    return text


def build_item(
    sample: Sample,
    answer_mode: AnswerMode,
    *,
    settings: dict[str, Any] | None = None,
    repeat: int = 1,
    system: str | None = None,
    multiturn: bool = False,
) -> Item:
    """Build all requests of a sample.

    settings: fields of a generation
    repeat: passes
    system: system prompt before the question
    multiturn: worked examples as turns of the chat instead of in one message
    """
    question = sample.ask
    if answer_mode.form == "text":
        prompt: str | list[Message] = as_text(question, system)
    else:
        prompt = as_messages(question, system, multiturn)

    # The delimiter before a continuation. A turn of a chat starts with the continuation itself, unless the answer's
    # prefix has already started the turn.
    started = question.prefix and not question.prefix[-1].isspace()
    delimiter = question.delimiter if answer_mode.form == "text" or started else ""

    requests: list[list[EvalRequest]] = []
    for number, fields in _FIELDS[answer_mode.mode](sample, delimiter):
        passes = []
        for attempt in range(repeat):
            sent = (settings or {}) if answer_mode.mode == "generation" else {}
            if sent.get("temperature"):
                sent = {**sent, "seed": sent.get("seed", SEED) + attempt}
            request_id = RequestId(sample.task, sample.doc_id, number, attempt)
            passes.append(EvalRequest(id=request_id, answer_mode=answer_mode, prompt=prompt, settings=sent, **fields))
        requests.append(passes)
    return Item(sample, requests)


def as_text(question: Question, system: str | None = None) -> str:
    """Return the question with everything before it as one text, for completions."""
    shots = "".join(_shot_text(question, shot) for shot in question.shots)
    needs_delimiter = question.prefix and _needs_delimiter(question.query, question.prefix)
    delimiter = question.delimiter if needs_delimiter else ""
    return join(system, question.description, question.between) + shots + question.query + delimiter + question.prefix


def as_messages(question: Question, system: str | None = None, multiturn: bool = False) -> list[Message]:
    """Return the question as the messages of a chat.

    System prompt and description become the system message. The worked examples are in the user's message before the
    question or, if `multiturn`, turns of their own. The answer's prefix starts the assistant's message.
    """
    opening = join(system, question.description, question.between)
    messages = [_message("system", opening)] if opening else []
    if multiturn:
        for query, answer in question.shots:
            messages += [_message("user", query), _message("assistant", join(question.prefix, answer))]
        messages.append(_message("user", question.query))
    else:
        shots = "".join(_shot_text(question, shot) for shot in question.shots)
        messages.append(_message("user", shots + question.query))
    return [*messages, _message("assistant", question.prefix)] if question.prefix else messages


def join(first: str | None, second: str | None, delimiter: str = " ") -> str:
    """Join two texts, with the delimiter between them unless one of them has white space there."""
    if not first or not second:
        return first or second or ""
    return first + (delimiter if _needs_delimiter(first, second) else "") + second


def readable(prompt: str | Sequence[Message]) -> str:
    """Return a prompt as text for people to read."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"<{message.get('role')}>\n{message.get('content')}" for message in prompt)


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _shot_text(question: Question, shot: tuple[str, str]) -> str:
    """Return a worked example as text, with the delimiter that separates it from what follows."""
    query, answer = shot
    needs_delimiter = not question.prefix or _needs_delimiter(query, question.prefix)
    delimiter = question.delimiter if needs_delimiter else ""
    return query + delimiter + join(question.prefix, answer) + question.between


def _needs_delimiter(first: str, second: str) -> bool:
    return bool(first) and not (first[-1].isspace() or second[0].isspace())


# The number of each request of a sample, with the fields in which it differs from the others of the sample.
_Fields = list[tuple[int | None, dict[str, Any]]]


def _generation(sample: Sample, delimiter: str) -> _Fields:  # noqa: ARG001  same signature as the others
    return [(None, {"later": sample.later})]


def _continuations(sample: Sample, delimiter: str) -> _Fields:
    return [(number, {"continuation": delimiter + choice}) for number, choice in enumerate(sample.choices)]


def _letters(sample: Sample, delimiter: str) -> _Fields:
    return [(None, {"letters": [delimiter + choice for choice in sample.choices]})]


_FIELDS = {"generation": _generation, "loglikelihood": _continuations, "letters": _letters}
