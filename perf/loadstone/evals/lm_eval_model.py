"""Loadstone as a model of lm-eval: `python -m loadstone.evals.lm_eval_model --model loadstone --model_args url=URL ...`
is lm-eval's own command, with requests sent by Loadstone's runner. Its runs are left in a folder, with their timings.

lm-eval finds models by import alone, so this module also starts its command. Only this file and lm_eval/harness.py
import `lm_eval`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.__main__ import cli_evaluate
from lm_eval.api.model import LM
from lm_eval.api.registry import model_registry

from loadstone.config import schema
from loadstone.config.providers import DEFAULT_API
from loadstone.engine import run_folder
from loadstone.errors import ConfigError, ServerError
from loadstone.evals.lm_eval.tasks import generation_settings
from loadstone.evals.requests import answers, capabilities, send, tokenize
from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest, RequestId
from loadstone.evals.requests.mode import available_modes, common_capabilities
from loadstone.host import event_loop

LABEL = "lm-eval"
# Arguments that lm-eval gives to every model and that mean nothing to this one.
IGNORED = ("batch_size", "max_batch_size", "device")
# Default number of retries, as of an evaluation.
RETRIES = 3


class ChatText(str):
    """The messages of a chat as JSON, because lm-eval expects a text. The server applies the chat template."""

    __slots__ = ()


class Loadstone(LM):
    """A model of lm-eval. Its arguments are the settings of `loadstone run`: url, model, api, concurrency, rate ...

    How the server reports log-likelihoods is probed before the first request for one.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        fields: dict[str, Any] = {"api": "completions", "retries": RETRIES}
        fields |= {name: value for name, value in arguments.items() if name not in IGNORED and value is not None}
        try:
            self.load = schema.from_mapping(fields)
        except ConfigError as exc:
            raise ConfigError(f"--model_args: {exc}", field=exc.field) from exc
        self.folder = Path(self.load.output) if self.load.output else run_folder.default_path(LABEL)
        run_folder.check_free(self.folder)
        self._mode: AnswerMode | None = None
        self._context: int | None = None
        self._calls = 0

    @property
    def tokenizer_name(self) -> str:
        """Return the name in lm-eval's cache of requests."""
        return f"loadstone {self.load.model}"

    def chat_template(self, chat_template: bool | str = False) -> str:  # noqa: ARG002
        """Return an empty text: only the server knows its chat template."""
        return ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:  # noqa: ARG002
        """Return the messages as they are: the server applies its template."""
        return ChatText(json.dumps(chat_history, ensure_ascii=False))

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """Return the generated texts. Raises UsageError if a request failed."""
        eval_requests = []
        for index, request in enumerate(requests):
            context, kwargs = request.args
            # Messages are sent to the chat API, whatever the arguments say.
            mode = AnswerMode("generation", (None if isinstance(context, ChatText) else self.load.api) or DEFAULT_API)
            settings = generation_settings(kwargs, {})
            eval_requests.append(
                EvalRequest(id=self._id(index), answer_mode=mode, prompt=_prompt(context), settings=settings)
            )
        return self._responses("generate_until", requests, eval_requests)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:  # noqa: ARG002
        """Return the log-likelihood of each continuation, and whether it is greedy. Raises UsageError."""
        chat = any(isinstance(request.args[0], ChatText) for request in requests)
        mode = self._loglikelihood_mode("chat" if chat else "completions")
        eval_requests = []
        for index, request in enumerate(requests):
            context, text = request.args
            eval_requests.append(
                EvalRequest(id=self._id(index), answer_mode=mode, prompt=_prompt(context), continuation=text)
            )
        return self._responses("loglikelihood", requests, eval_requests)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002
        """Return the log-likelihood of whole texts, in windows if they are too long. Raises UsageError."""
        mode = self._loglikelihood_mode("completions")
        eval_requests = [
            EvalRequest(id=self._id(index), answer_mode=mode, prompt="", continuation=request.args[0])
            for index, request in enumerate(requests)
        ]
        return self._responses("loglikelihood_rolling", requests, eval_requests)

    def _id(self, index: int) -> RequestId:
        """Return the id of a request of the present call: the number of the call takes the place of the task."""
        return RequestId(str(self._calls), index)

    def _loglikelihood_mode(self, api: str) -> AnswerMode:
        """Return how log-likelihoods are requested over an API. The server is probed once."""
        if self._mode is None or self._mode.api != api:
            common = common_capabilities(event_loop.run(capabilities.probe_servers(self.load)))
            modes = available_modes("loglikelihood", api, common)
            if not modes:
                reasons = "; ".join(dict.fromkeys(common.why.values()))
                raise ServerError(
                    f"{self.load.url} reports no log-likelihoods: {reasons}; take tasks of generate_until"
                )
            self._mode, self._context = modes[0], common.context
        return self._mode

    def _responses(self, name: str, requests: Sequence[Any], eval_requests: list[EvalRequest]) -> list[Any]:
        """Send requests and return their responses in lm-eval's form.

        Responses also go into lm-eval's cache, so that a second try only sends what failed.
        name: of the method that lm-eval called
        requests: lm-eval's instances
        """
        self._calls += 1
        responses = event_loop.run(self._send(eval_requests))
        values: list[Any] = []
        for instance, request in zip(requests, eval_requests, strict=True):
            response = responses[request.id]
            if not response.ok:
                continue
            (value,) = response.values
            if name == "loglikelihood_rolling":
                value = value[0]  # type: ignore[assignment]
            values.append(value)
            self.cache_hook.add_partial(name, instance.args, value)
        failures = Counter(str(response.failure) for response in responses.values() if not response.ok)
        if failures:
            kinds = ", ".join(f"{count} {kind}" for kind, count in failures.most_common())
            raise ServerError(
                f"{failures.total()} of {len(eval_requests)} requests failed ({kinds}), and lm-eval knows no failed"
                f" answer: see {self.folder}, and repeat with --use_cache, which keeps those that came"
            )
        return values

    async def _send(self, requests: list[EvalRequest]) -> dict[RequestId, Response]:
        """Send requests and return the responses, by id."""
        self.folder.mkdir(parents=True, exist_ok=True)
        sent = await tokenize.tokenize_requests(requests, self.load, self.folder, self._context)
        await send.infer(sent, self.load, self.folder)
        responses = tokenize.join_windows(answers.read(self.folder, sent), sent)
        return {request.id: responses.get(request.id, Response(failure="unsent")) for request in requests}


def _prompt(context: str) -> Any:
    return json.loads(context) if isinstance(context, ChatText) else context


def main() -> None:
    """Run lm-eval's command, which then knows `--model loadstone`."""
    model_registry.register("loadstone", target="loadstone.evals.lm_eval_model:Loadstone")
    cli_evaluate()


if __name__ == "__main__":
    main()
