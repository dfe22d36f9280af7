"""Prompts made ready to send: each row of the dataset becomes one HTTP request, encoded before the run starts.

Pure; also reads the URL that the operator gave. Nothing here opens a socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis import API, RequestSettings
from loadstone.config.redact import hide_header
from loadstone.errors import UsageError
from loadstone.records import Prompt, messages, next_prompt
from loadstone.schedule.plan import Plan
from loadstone.transport import Headers, Request


class PreparedRequest(Struct, frozen=True):
    """A request that can be sent any number of times. `output_len`: output tokens it asks for, where it does. `model`: which
    of several it is for."""

    prompt: Prompt
    request: Request
    streamed: bool
    output_len: int | None
    model: str | None = None

    def with_path(self, path: str) -> PreparedRequest:
        """The same for a server that has the API at another path."""
        return msgspec.structs.replace(self, request=msgspec.structs.replace(self.request, path=path))


class RequestBuilder:
    """Turns prompts into jobs: the same prompt for the same model always gives the same bytes."""

    def __init__(self, api: API, settings: Sequence[RequestSettings], path: str, headers: Headers) -> None:
        self._api = api
        self._settings = settings
        self._path = path
        self._shared: Headers = (("Content-Type", "application/json"), ("Accept", "*/*"), *api.headers, *headers)

    def build(self, prompt: Prompt, model: int = 0) -> PreparedRequest:
        """The job of a prompt, for one of the models."""
        settings = self._settings[model]
        body = self._body(prompt, settings)
        own = tuple(prompt.headers.items())
        request = Request("POST", self._path, self._beside(own), msgspec.json.encode(body), own)
        streamed = self._api.streams and bool(body.get("stream", settings.stream))
        asked = body.get("max_completion_tokens") or body.get("max_tokens") or prompt.output_len
        return PreparedRequest(
            prompt=prompt,
            request=request,
            streamed=streamed,
            output_len=asked if isinstance(asked, int) else settings.output_len,
            model=settings.model if len(self._settings) > 1 else None,
        )

    def check_later_turns(self, prompt: Prompt) -> None:
        """Raises UsageError for a later turn that the API cannot ask, before anything is sent."""
        asked = prompt
        for turn in prompt.later:
            asked = next_prompt(asked, "", turn)
            self._body(asked, self._settings[0])

    def _body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        try:
            return self._api.build_body(prompt, settings)
        except UsageError:
            raise
        except Exception as exc:  # the class may be somebody else's
            name = type(self._api).__name__
            raise UsageError(f"--api: {name}.body cannot take {prompt.id}: {type(exc).__name__}: {exc}") from exc

    def _beside(self, own: Headers) -> Headers:
        """The headers of all requests that this one does not have of its own."""
        names = {name.lower() for name, _ in own}
        return tuple(pair for pair in self._shared if pair[0].lower() not in names) if names else self._shared


class PreparedRequests:
    """The first requests of all rows, encoded before the run; those of other models when they are first wanted."""

    def __init__(self, prompts: Sequence[Prompt] | Mapping[int, Prompt], maker: RequestBuilder) -> None:
        """`prompts`: all rows, or some by their number."""
        self.builder = maker
        rows = prompts if isinstance(prompts, Mapping) else dict(enumerate(prompts))
        self._first = {row: maker.build(prompt) for row, prompt in rows.items()}
        for prompt in rows.values():
            maker.check_later_turns(prompt)
        self._others: dict[tuple[int, int], PreparedRequest] = {}

    def __len__(self) -> int:
        return len(self._first)

    def prompts(self, rows: Iterable[int]) -> dict[int, Prompt]:
        """Prompts by the number of their row."""
        return {row: self._first[row].prompt for row in rows}

    def get(self, row: int, model: int = 0) -> PreparedRequest:
        job = self._first[row]
        if not model:
            return job
        if (row, model) not in self._others:
            self._others[row, model] = self.builder.build(job.prompt, model)
        return self._others[row, model]

    def body_lines(self, plan: Plan) -> Iterator[bytes]:
        """The bodies as JSON lines, each once, in the order in which the plan first wants them. Of a conversation, the
        first request whole and what the later turns add."""
        places = range(plan.total if plan.total is not None else len(self))
        for row, model in dict.fromkeys((plan.row(place), plan.model(place)) for place in places):
            yield _line(self.get(row, model))


def _shown(headers: Headers) -> dict[str, str]:
    return {name: hide_header(name, value) for name, value in headers}


def _line(job: PreparedRequest) -> bytes:
    line: dict[str, Any] = {"prompt": job.prompt.id, "model": job.model, "headers": _shown(job.request.own_headers)}
    line["later"] = [{"messages": messages(turn), "think": turn.think} for turn in job.prompt.later]
    given = {name: value for name, value in line.items() if value}
    return msgspec.json.encode({**given, "body": msgspec.Raw(job.request.body)}) + b"\n"
