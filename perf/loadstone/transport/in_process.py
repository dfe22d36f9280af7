"""Models in this process, used in place of a server: an object with `predict(prompts, **kwargs)`, sync or async.

This is EvalScope's CustomModel interface: prompts are dicts with `messages`, or with `data` and `system_prompt`;
responses are dicts in OpenAI's form, one for each prompt. For the engine it is a transport like those with sockets:
requests are bytes, responses are JSON, and every mistake of the class is a failed request.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.errors import ConfigError
from loadstone.plugins import load_object
from loadstone.transport import Clock, Exchange, Request

# Built-in models, by the name before a colon.
BUILT_IN = {"dummy": "loadstone.transport.in_process:DummyModel"}
# Iterations of the event loop for which a batch waits for more requests: its slots become free together.
BATCH_ROUNDS = 5
# Settings of a run that a model in this process does not use: it is a function, and answers as a whole.
UNUSED = ("header", "retries", "stream", "usage", "path", "wait", "first_timeout")
# Settings of connections: without a server, only --scrape has one.
CONNECTION = (
    *("transport", "insecure", "ca_file", "client_cert", "client_key", "connect_timeout", "scrape_every"),
    *("scrape_all", "scrape_name"),
)
_FORM = "a dict with choices, each with a message"
# Fields of a request body that are no settings of the generation.
_NOT_SETTINGS = ("model", "messages", "prompt", "stream", "stream_options")
Predict = Callable[..., Any]


def load_model(name: str, config: dict[str, Any]) -> object:
    """Load the model of `--model`: `FILE.py:CLASS` or `dummy`. Raises UsageError.

    config: settings for the class, if its constructor takes an argument.
    """
    loaded = load_object("loadstone.models", name if ".py:" in name else name.partition(":")[0], BUILT_IN, "--model")
    if not isinstance(loaded, type):
        return loaded
    try:
        takes = inspect.signature(loaded).parameters.values()
        positional = [one for one in takes if one.kind not in (one.VAR_KEYWORD, one.KEYWORD_ONLY)]
        model: object = loaded({"model_id": name, **config}) if positional else loaded()
        return model
    except Exception as exc:  # third-party code may raise anything
        raise ConfigError(f"--model: cannot make {name}: {type(exc).__name__}: {exc}", field="model") from exc


class _Waiting(Struct):
    """A request that waits for a batch.

    body: its fields.
    settings: those that all requests of a batch share, as JSON.
    answer: the response.
    """

    body: dict[str, Any]
    settings: bytes
    answer: asyncio.Future[bytes]


class _BrokenError(Exception):
    """Any exception of third-party code, as text."""


def _broken(exc: BaseException) -> _BrokenError:
    if isinstance(exc, _BrokenError):
        return exc
    try:
        return _BrokenError(f"{type(exc).__name__}: {exc}")
    except Exception:  # its __str__ may raise anything too
        return _BrokenError(type(exc).__name__)


class _Calls:
    """One thread that makes one call after another.

    Unlike an executor's thread, it does not delay the end of the program: a call may never return.
    """

    def __init__(self) -> None:
        self._wanted: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._thread: Thread | None = None

    async def make(self, call: Callable[[], Any]) -> Any:
        """Return what the call returns. Raises _BrokenError."""
        if self._thread is None:
            self._thread = Thread(target=self._work, args=(asyncio.get_running_loop(),), name="own model", daemon=True)
            self._thread.start()
        came = asyncio.get_running_loop().create_future()
        self._wanted.put((call, came))
        return await came

    def end(self) -> None:
        """Stop making calls. A call that is running is not waited for."""
        self._wanted.put(None)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (wanted := self._wanted.get()) is not None:
            call, came = wanted
            try:
                result = call()
            except BaseException as exc:  # sys.exit() and StopIteration as well: they must not end the run
                result = _broken(exc)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits for the result
                loop.call_soon_threadsafe(_settle, came, result)


def _settle(came: asyncio.Future[Any], result: Any) -> None:
    if came.done():
        return
    if isinstance(result, _BrokenError):
        came.set_exception(result)
    else:
        came.set_result(result)


class InProcessModel:
    """The transport to a model object.

    model: object with `predict`. name: its name. clock: the run's clock. batch_size: prompts in one call at most.

    Raises ConfigError for an object without `predict`.
    """

    def __init__(self, model: object, name: str, clock: Clock, batch_size: int = 1) -> None:
        predict = getattr(model, "predict", None)
        if not callable(predict):
            form = "predict(self, prompts: list[dict], **kwargs) -> list[dict]"
            raise ConfigError(f"--model: {type(model).__name__} has no method predict: give it {form}", field="model")
        self._predict: Predict = predict
        self._where = f"{type(model).__name__}.predict"
        self._name, self._clock, self._size = name, clock, batch_size
        self._waiting: deque[_Waiting] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self._busy = False
        self._calls = _Calls()
        self._concurrent = inspect.iscoroutinefunction(predict)

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        """Send a request to the model. It is sent when it is queued, and answered when `predict` returns."""
        exchange.connect, exchange.sent = 0, self._clock()
        if request.method == "POST":
            fields = msgspec.json.decode(request.body)
            settings = {name: value for name, value in fields.items() if name not in _NOT_SETTINGS}
            answer = asyncio.get_running_loop().create_future()
            self._waiting.append(_Waiting(fields, msgspec.json.encode(settings, order="sorted"), answer))
            # A model that is async gets a worker for each request, any other model one worker for all.
            if self._concurrent or not self._busy:
                self._busy = True
                task = asyncio.get_running_loop().create_task(self._work())
                self._working.add(task)
                task.add_done_callback(self._working.discard)
            data = bytes(await answer)
        else:
            data = msgspec.json.encode({"data": [{"id": self._name}]})
        at = self._clock()
        exchange.first_byte, exchange.status, exchange.reads = at, 200, 1
        exchange.headers = [(b"content-type", b"application/json"), (b"server", self._where.encode())]
        exchange.sink(data, at)
        exchange.end = at

    async def close(self) -> None:
        for task in self._working:
            task.cancel()
        self._calls.end()

    async def _work(self) -> None:
        """Run batches while requests wait. A model that is not async gets one call at a time."""
        while True:
            for _ in range(BATCH_ROUNDS if self._size > 1 else 0):
                await asyncio.sleep(0)
            # The batch: the first waiting request and others with the same settings, none that was cancelled.
            batch, others = list[_Waiting](), list[_Waiting]()
            while self._waiting and len(batch) < self._size:
                one = self._waiting.popleft()
                if not one.answer.done():
                    (others if batch and one.settings != batch[0].settings else batch).append(one)
            self._waiting.extendleft(reversed(others))
            if not batch:
                self._busy = False  # before any await: the next request must start a new worker
                return
            try:
                answers = await self._ask(batch)
            except (Exception, SystemExit, asyncio.CancelledError) as exc:  # third-party code may raise anything
                worker = asyncio.current_task()
                if isinstance(exc, asyncio.CancelledError) and worker is not None and worker.cancelling() > 0:
                    raise  # this transport is being closed; else the model raised it
                answers = [_complaint(f"{self._where}: {_broken(exc)}")] * len(batch)
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)

    async def _ask(self, batch: Sequence[_Waiting]) -> list[bytes]:
        """Return the response of `predict` to each request; an invalid one becomes an error in a server's form."""
        bodies = [one.body for one in batch]
        # Settings: under OpenAI's names, and the length also under Hugging Face's, as EvalScope does.
        settings: dict[str, Any] = msgspec.json.decode(batch[0].settings)
        length = settings.get("max_completion_tokens", settings.get("max_tokens"))
        if length is not None:
            settings["max_new_tokens"] = length

        def call() -> Any:
            arguments = {"origin_inputs": bodies, "infer_cfg": settings}
            takes = inspect.signature(self._predict).parameters
            if not any(one.kind is one.VAR_KEYWORD for one in takes.values()):
                arguments = {name: value for name, value in arguments.items() if name in takes}
            return self._predict([to_item(body) for body in bodies], **arguments)

        answers = call() if self._concurrent else await self._calls.make(call)
        if isinstance(answers, Awaitable):
            answers = await answers
        if not isinstance(answers, list | tuple) or len(answers) != len(batch):
            got = f"{len(answers)} answers" if isinstance(answers, list | tuple) else type(answers).__name__
            refusal = _complaint(f"{self._where} gave {got} for {len(batch)} prompts, not a list of as many")
            return [refusal] * len(batch)
        return [self._encoded(answer) for answer in answers]

    def _encoded(self, answer: Any) -> bytes:
        choices = answer.get("choices") if isinstance(answer, dict) else None
        has_choices = isinstance(choices, list | tuple) and bool(choices) and all(map(_fits, choices))
        if not isinstance(answer, dict) or not ("error" in answer or has_choices):
            try:
                shown = repr(str(answer)[:80])
            except Exception:  # its __str__ is third-party code too
                shown = type(answer).__name__
            return _complaint(f"{self._where} gave {shown} for a prompt, not {_FORM}")
        try:
            return msgspec.json.encode(answer)
        except (TypeError, ValueError, RecursionError) as exc:
            return _complaint(f"{self._where} gave what is no JSON: {exc}")


def to_item(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request in the form of the interface: its messages, or its text as `data`."""
    if "messages" in body:
        return {"messages": body["messages"]}
    prompt = body.get("prompt")
    return {"data": prompt if isinstance(prompt, list) else [prompt], "system_prompt": None}


def _fits(choice: Any) -> bool:
    return isinstance(choice, dict) and (isinstance(choice.get("message"), dict) or isinstance(choice.get("text"), str))


def _complaint(text: str) -> bytes:
    return msgspec.json.encode({"error": {"message": text}})


class DummyModel:
    """A model that returns the text after `dummy:` in its name, or the last prompt, at once. A token is a word."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._name = str(config.get("model_id", "dummy"))
        self._text = self._name.partition(":")[2]

    def predict(self, prompts: list[dict[str, Any]], **_: Any) -> list[dict[str, Any]]:
        """Return a response in OpenAI's form for each prompt."""
        responses = []
        for prompt in prompts:
            texts = [str(message["content"]) for message in prompt.get("messages") or ()]
            texts = texts or list(prompt.get("data") or ())
            text = self._text or (texts[-1] if texts else "")
            message = {"role": "assistant", "content": text}

            # Usage
            prompt_tokens = sum(len(one.split()) for one in texts)
            completion_tokens = len(text.split())
            usage = {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            }
            responses.append(
                {
                    "object": "chat.completion",
                    "model": self._name,
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": usage,
                }
            )
        return responses
