"""Encode prompts as HTTP requests, before the run starts. Pure: nothing here opens a socket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis import API, RequestSettings
from loadstone.config.redact import HEADER_NAME, HEADER_VALUE, hide_header
from loadstone.errors import ConfigError, DataError, UsageError
from loadstone.records import Prompt, messages, next_prompt
from loadstone.schedule.plan import MAX_LINES, Plan
from loadstone.text import encode_json
from loadstone.transport import Headers, Request


class PreparedRequest(Struct, frozen=True):
    """A request that can be sent any number of times.

    output_len: output tokens that it asks for; None where it does not.
    model: the model that it is for, if the run has several.
    """

    prompt: Prompt
    request: Request
    streamed: bool
    output_len: int | None
    model: str | None = None


class PreparedRequests:
    """The first requests of all rows, encoded before the run, and the builder of all others.

    Those of further models are encoded when first used, those of later turns when they are due. The same prompt for
    the same model always gives the same bytes.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt] | Mapping[int, Prompt],
        api: API,
        settings: Sequence[RequestSettings],
        path: str,
        headers: Headers,
    ) -> None:
        """Encode the requests of `prompts`: all rows, or some by number. Raises UsageError.

        settings: of each model.
        path: of the API.
        """
        self._api = api
        self._settings = settings
        self._path = path
        self._shared: Headers = (("Content-Type", "application/json"), ("Accept", "*/*"), *api.headers, *headers)
        rows = prompts if isinstance(prompts, Mapping) else dict(enumerate(prompts))
        self._first = {row: self.build(prompt) for row, prompt in rows.items()}
        for prompt in rows.values():
            # The later turns are encoded when they are due; here that only has to be possible.
            history = prompt
            for turn in prompt.later:
                history = next_prompt(history, "", turn)
                self.build(history)
        self._of_models: dict[tuple[int, int], PreparedRequest] = {}

    def build(self, prompt: Prompt, model: int = 0) -> PreparedRequest:
        """Build the request of a prompt for one of the models. Raises UsageError if the API cannot take the prompt."""
        settings = self._settings[model]
        try:
            body = self._api.build_body(prompt, settings)
        except UsageError:
            raise
        except Exception as exc:  # the class may be a user's
            name = type(self._api).__name__
            raise ConfigError(
                f"--api: {name}.body cannot take {prompt.id}: {type(exc).__name__}: {exc}", field="api"
            ) from exc

        # Headers of this prompt replace those that all requests share.
        own = tuple(prompt.headers.items())
        shared = self._shared
        if own:
            for name, value in own:
                if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
                    raise DataError(f"{prompt.id}: mend its header {name!r}, which is not one line of ASCII")
            names = {name.lower() for name, _ in own}
            shared = tuple(pair for pair in shared if pair[0].lower() not in names)

        output_len = body.get("max_completion_tokens") or body.get("max_tokens") or prompt.output_len
        return PreparedRequest(
            prompt=prompt,
            request=Request("POST", self._path, shared, encode_json(body), own),
            streamed=self._api.streams and bool(body.get("stream", settings.stream)),
            output_len=output_len if isinstance(output_len, int) else settings.output_len,
            model=settings.model if len(self._settings) > 1 else None,
        )

    def __len__(self) -> int:
        return len(self._first)

    @property
    def shared_tools(self) -> object:
        """Return the tools that all requests have (--extra-body); None if there are none."""
        return self._settings[0].extra_body.get("tools")

    def all_prompts(self) -> list[Prompt]:
        """Return the prompts of all rows, in their order."""
        return [self._first[row].prompt for row in sorted(self._first)]

    def prompts(self, rows: Iterable[int]) -> dict[int, Prompt]:
        """Return prompts by the number of their row."""
        return {row: self._first[row].prompt for row in rows}

    def get(self, row: int, model: int = 0) -> PreparedRequest:
        """Return the first request of a row for one of the models."""
        request = self._first[row]
        if not model:
            return request
        if (row, model) not in self._of_models:
            self._of_models[row, model] = self.build(request.prompt, model)
        return self._of_models[row, model]

    def body_lines(self, plan: Plan) -> Iterator[bytes]:
        """Yield each body once, as a line of JSON, in the order in which the plan first needs it.

        Of a conversation: the first request as a whole, and what the later turns add.
        """
        # Two uses of the dataset bring every row, whatever was skipped. Of several models only the first pairs count.
        most = max(2 * len(self), MAX_LINES)
        positions = range(len(self) if plan.total is None else min(plan.total, most))
        for row, model in dict.fromkeys((plan.row(position), plan.model(position)) for position in positions):
            request = self.get(row, model)
            line: dict[str, Any] = {
                "prompt": request.prompt.id,
                "model": request.model,
                "headers": {name: hide_header(name, value) for name, value in request.request.own_headers},
                "later": [{"messages": messages(turn), "think": turn.think} for turn in request.prompt.later],
            }
            present = {name: value for name, value in line.items() if value}
            yield msgspec.json.encode({**present, "body": msgspec.Raw(request.request.body)}) + b"\n"
