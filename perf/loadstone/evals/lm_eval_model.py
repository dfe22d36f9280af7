"""Loadstone as a model of lm-eval: `python -m loadstone.evals.lm_eval_model --model loadstone --model_args url=URL ...`
is lm-eval's own command, which sends its requests by our runner; runs with their timings are left in a folder.

lm-eval finds models by import alone, so that this module also starts its command. With bridge.py the only door to it.
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
from loadstone.config.schema import Config
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.evals.lm_eval.tasks import generation_settings
from loadstone.evals.requests import answers, capabilities, send, tokenize
from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.build import EvalRequest
from loadstone.evals.requests.mode import AnswerMode, available_modes, common_capabilities
from loadstone.host import event_loop

LABEL = "lm-eval"
# What lm-eval gives to every model, and says nothing to this one.
OTHERS = ("batch_size", "max_batch_size", "device")
RETRIES = 3


class ChatText(str):
    """The messages of a chat as JSON, where lm-eval wants a text; the template is the server's to apply."""

    __slots__ = ()


class Loadstone(LM):
    """The settings are those of `loadstone run`: url, model, api, concurrency, rate, output ... Log-likelihoods are
    asked for in the way that the server has, found out before the first."""

    def __init__(self, **given: Any) -> None:
        super().__init__()
        said = {name: value for name, value in given.items() if name not in OTHERS and value is not None}
        said = {"api": "completions", **({"retries": RETRIES} if "retries" in Config.__struct_fields__ else {}), **said}
        self.load = schema.from_mapping(said, "--model_args")
        self.folder = Path(self.load.output) if self.load.output else run_folder.default_path(LABEL)
        run_folder.check_free(self.folder)
        self._way: AnswerMode | None = None
        self._limit: int | None = None
        self._calls = 0

    @property
    def tokenizer_name(self) -> str:
        """Of the cache of requests: texts are the same for all models."""
        return f"loadstone {self.load.model}"

    def chat_template(self, chat_template: bool | str = False) -> str:  # noqa: ARG002
        """The server's own, which it does not tell."""
        return ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:  # noqa: ARG002
        """The messages as they are, for the server to put into its template."""
        return ChatText(json.dumps(chat_history, ensure_ascii=False))

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """The answers, as texts. Raises UsageError when a request failed."""
        asked = [
            EvalRequest(
                id=self._id(at),
                mode="generation",
                prompt=_asked(one.args[0]),
                settings=generation_settings(one.args[1], {}),
            )
            for at, one in enumerate(requests)
        ]
        return self._answers("generate_until", requests, asked, None)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:  # noqa: ARG002
        """Of each continuation, the log-likelihood and whether it is greedy. Raises UsageError, see above."""
        asked = [
            EvalRequest(id=self._id(at), mode="loglikelihood", prompt=_asked(one.args[0]), continuation=one.args[1])
            for at, one in enumerate(requests)
        ]
        chat = any(isinstance(one.args[0], ChatText) for one in requests)
        return self._answers("loglikelihood", requests, asked, self._likely("chat" if chat else "completions"))

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002
        """The log-likelihood of whole texts, in windows where they are too long. Raises UsageError, see above."""
        asked = [
            EvalRequest(id=self._id(at), mode="loglikelihood", prompt="", continuation=one.args[0])
            for at, one in enumerate(requests)
        ]
        return self._answers("loglikelihood_rolling", requests, asked, self._likely("completions"))

    def _id(self, at: int) -> str:
        return f"{self._calls}:{at}"

    def _likely(self, api: str) -> AnswerMode:
        """The way of log-likelihoods, found out once."""
        if self._way is None or self._way.api != api:
            seen = common_capabilities(event_loop.run(capabilities.probe_servers(self.load)))
            found = available_modes("loglikelihood", api, seen)
            if not found:
                why = "; ".join(dict.fromkeys(seen.why.values()))
                raise UsageError(f"{self.load.url} tells no log-likelihoods: {why}; take tasks of generate_until")
            self._way, self._limit = found[0], seen.context
        return self._way

    def _answers(
        self, name: str, requests: Sequence[Any], asked: list[EvalRequest], route: AnswerMode | None
    ) -> list[Any]:
        """Send, wait, read back; each answer goes to lm-eval's cache as well, so that a second try asks only for what
        failed."""
        self._calls += 1
        found = event_loop.run(self._sent(asked, route))
        for request, wanted in zip(requests, asked, strict=True):
            if found[wanted.id].ok:
                self.cache_hook.add_partial(name, request.args, _response(name, found[wanted.id]))
        failed = Counter(str(one.failure) for one in found.values() if not one.ok)
        if failed:
            kinds = ", ".join(f"{count} {kind}" for kind, count in failed.most_common())
            raise UsageError(
                f"{failed.total()} of {len(asked)} requests failed ({kinds}), and lm-eval knows no failed answer: see "
                f"{self.folder}, and repeat with --use_cache, which keeps those that came"
            )
        return [_response(name, found[wanted.id]) for wanted in asked]

    async def _sent(self, asked: list[EvalRequest], route: AnswerMode | None) -> dict[str, Response]:
        self.folder.mkdir(parents=True, exist_ok=True)
        sent, cuts = asked, dict[str, tokenize.TokenizedRequest]()
        if route is not None and route.method is not None and route.method.ids:
            sent, cuts = await tokenize.tokenize_requests(asked, self.load, self.folder, self._limit)
        await send.infer(((one, route or self._generation(one)) for one in sent), self.load, self.folder)
        came = tokenize.join_windows(answers.read(self.folder, {one.id: one for one in sent}), cuts)
        return {one.id: came.get(one.id, Response(failure="unsent")) for one in asked}

    def _generation(self, wanted: EvalRequest) -> AnswerMode:
        """A chat goes to where chats go, whatever was said."""
        return AnswerMode("generation", self.load.api if isinstance(wanted.prompt, str) else "chat")


def _asked(context: str) -> Any:
    return json.loads(context) if isinstance(context, ChatText) else context


def _response(name: str, answer: Response) -> Any:
    """As lm-eval has it: of a rolling likelihood the value alone."""
    (one,) = answer.values
    return one[0] if name == "loglikelihood_rolling" else one


def main() -> None:
    """lm-eval's command, which knows `--model loadstone`."""
    model_registry.register("loadstone", target="loadstone.evals.lm_eval_model:Loadstone")
    cli_evaluate()


if __name__ == "__main__":
    main()
