"""A model of one's own in place of a server: an object with `predict(prompts, **kwargs)`, sync or async, in batches.

EvalScope's CustomModel contract: prompts are dicts with `messages`, or with `data` and `system_prompt`; answers are
dicts in OpenAI's form, one for each. To everybody else it is a transport like those with sockets: requests go in as
bytes, answers come out as JSON, and whatever the class does wrong is a failed request.
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

from loadstone.errors import UsageError
from loadstone.plugins import load_object
from loadstone.transport import Clock, Exchange, Request

# Models that ship, by the name before a colon.
BUILT_IN = {"dummy": "loadstone.transport.in_process:DummyModel"}
# Rounds of the event loop in which requests that are on their way may join a batch: its slots come free together.
BATCH_ROUNDS = 5
_FORM = "a dict with choices, each with a message"
_NOT_SETTINGS = ("model", "messages", "prompt", "stream", "stream_options")
Predict = Callable[..., Any]


def load_model(name: str, config: dict[str, Any]) -> object:
    """The model of `--model`: `FILE.py:CLASS` or `dummy`. A class is made with `config` if it takes anything. Raises
    UsageError."""
    found = load_object("loadstone.models", name if ".py:" in name else name.partition(":")[0], BUILT_IN, "--model")
    try:
        return _made(found, {"model_id": name, **config}) if isinstance(found, type) else found
    except Exception as exc:  # somebody else's code may raise anything
        raise UsageError(f"--model: cannot make {name}: {type(exc).__name__}: {exc}") from exc


def _made(cls: type, config: dict[str, Any]) -> object:
    takes = inspect.signature(cls).parameters.values()
    named = [one for one in takes if one.kind not in (one.VAR_KEYWORD, one.KEYWORD_ONLY)]
    return cls(config) if named else cls()


class _Waiting(Struct):
    """A request in line. `settings`: what a batch has in common, as JSON."""

    body: dict[str, Any]
    settings: bytes
    answer: asyncio.Future[bytes]


class _BrokenError(Exception):
    """What somebody else's code raised, whatever it was, in words."""


def _broken(exc: BaseException) -> _BrokenError:
    if isinstance(exc, _BrokenError):
        return exc
    try:
        return _BrokenError(f"{type(exc).__name__}: {exc}")
    except Exception:  # it has a __str__ of its own, which may raise anything too
        return _BrokenError(type(exc).__name__)


def _closing() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Calls:
    """One thread, for one call after the other. Unlike an executor's it is not waited for when the program ends: a call
    may never come back."""

    def __init__(self) -> None:
        self._wanted: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._thread: Thread | None = None

    async def make(self, call: Callable[[], Any]) -> Any:
        """What the call returns. Raises _BrokenError."""
        if self._thread is None:
            self._thread = Thread(target=self._work, args=(asyncio.get_running_loop(),), name="own model", daemon=True)
            self._thread.start()
        came = asyncio.get_running_loop().create_future()
        self._wanted.put((call, came))
        return await came

    def end(self) -> None:
        """No more calls; one that is under way is left to itself."""
        self._wanted.put(None)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (wanted := self._wanted.get()) is not None:
            call, came = wanted
            try:
                result = call()
            except BaseException as exc:  # sys.exit() and StopIteration as well: they must not end the run
                result = _broken(exc)
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits for it any more
                loop.call_soon_threadsafe(_settle, came, result)


def _settle(came: asyncio.Future[Any], result: Any) -> None:
    if came.done():
        return
    if isinstance(result, _BrokenError):
        came.set_exception(result)
    else:
        came.set_result(result)


class InProcessModel:
    """The transport to `model`, called `name`. Raises UsageError for an object without `predict`."""

    def __init__(self, model: object, name: str, clock: Clock, batch_size: int = 1) -> None:
        predict = getattr(model, "predict", None)
        if not callable(predict):
            form = "predict(self, prompts: list[dict], **kwargs) -> list[dict]"
            raise UsageError(f"--model: {type(model).__name__} has no method predict: give it {form}")
        self._predict: Predict = predict
        self._where = f"{type(model).__name__}.predict"
        self._name, self._clock, self._size = name, clock, batch_size
        self._waiting: deque[_Waiting] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self._busy = False
        self._calls = _Calls()
        self._concurrent = inspect.iscoroutinefunction(predict)

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        """Times are as with a server: sent when handed over, answered when `predict` has come back with it."""
        exchange.connect, exchange.sent = 0, self._clock()
        data = await self._answer(request.body) if request.method == "POST" else self._models()
        at = self._clock()
        exchange.first_byte, exchange.status, exchange.reads = at, 200, 1
        exchange.headers = [(b"content-type", b"application/json"), (b"server", self._where.encode())]
        exchange.sink(data, at)
        exchange.end = at

    async def close(self) -> None:
        for task in self._working:
            task.cancel()
        self._calls.end()

    def _models(self) -> bytes:
        return msgspec.json.encode({"data": [{"id": self._name}]})

    async def _answer(self, body: bytes) -> bytes:
        fields = msgspec.json.decode(body)
        settings = {name: value for name, value in fields.items() if name not in _NOT_SETTINGS}
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(fields, msgspec.json.encode(settings, order="sorted"), answer))
        if self._concurrent or not self._busy:
            self._busy = True
            self._start()
        return bytes(await answer)

    def _start(self) -> None:
        task = asyncio.get_running_loop().create_task(self._work())
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _work(self) -> None:
        """Batch after batch while anything waits: a class that is not async is asked one thing at a time."""
        while True:
            for _ in range(BATCH_ROUNDS if self._size > 1 else 0):
                await asyncio.sleep(0)
            batch = self._batch()
            if not batch:
                self._busy = False  # here and now: the next request must not find a worker that has left
                return
            try:
                answers = await self._ask(batch)
            except (Exception, SystemExit, asyncio.CancelledError) as exc:  # somebody else's code may raise anything
                if isinstance(exc, asyncio.CancelledError) and _closing():
                    raise
                answers = [_complaint(f"{self._where}: {_broken(exc)}")] * len(batch)
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)

    def _batch(self) -> list[_Waiting]:
        """The first in line and others with the same settings; whoever has left the line is not asked for."""
        batch, others = list[_Waiting](), list[_Waiting]()
        while self._waiting and len(batch) < self._size:
            one = self._waiting.popleft()
            if not one.answer.done():
                (others if batch and one.settings != batch[0].settings else batch).append(one)
        self._waiting.extendleft(reversed(others))
        return batch

    async def _ask(self, batch: Sequence[_Waiting]) -> list[bytes]:
        """An answer for each; where it is none, what is wrong with it, in the form in which servers complain."""
        bodies = [one.body for one in batch]
        answers = await self._call(bodies, _config(batch[0]))
        if not isinstance(answers, list | tuple) or len(answers) != len(batch):
            got = f"{len(answers)} answers" if isinstance(answers, list | tuple) else type(answers).__name__
            return [_complaint(f"{self._where} gave {got} for {len(batch)} prompts, not a list of as many")] * len(
                batch
            )
        return [self._encoded(answer) for answer in answers]

    async def _call(self, bodies: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
        """What `predict` gives."""

        def call() -> Any:
            given = _fitting(self._predict, {"origin_inputs": bodies, "infer_cfg": settings})
            return self._predict([to_item(body) for body in bodies], **given)

        answers = call() if self._concurrent else await self._calls.make(call)
        return await answers if isinstance(answers, Awaitable) else answers

    def _encoded(self, answer: Any) -> bytes:
        if not isinstance(answer, dict) or not ("error" in answer or _choices(answer)):
            return _complaint(f"{self._where} gave {_shown(answer)} for a prompt, not {_FORM}")
        try:
            return msgspec.json.encode(answer)
        except (TypeError, ValueError, RecursionError) as exc:
            return _complaint(f"{self._where} gave what is no JSON: {exc}")


def _shown(answer: Any) -> str:
    try:
        return repr(str(answer)[:80])
    except Exception:  # its __str__ is somebody else's code too
        return type(answer).__name__


def to_item(body: dict[str, Any]) -> dict[str, Any]:
    """A request as the contract has it: its messages, or its text as `data`."""
    if "messages" in body:
        return {"messages": body["messages"]}
    prompt = body.get("prompt")
    return {"data": prompt if isinstance(prompt, list) else [prompt], "system_prompt": None}


def _config(first: _Waiting) -> dict[str, Any]:
    """The settings under OpenAI's names; the length under Hugging Face's as well, as EvalScope has it."""
    settings: dict[str, Any] = msgspec.json.decode(first.settings)
    length = settings.get("max_completion_tokens", settings.get("max_tokens"))
    return settings if length is None else {**settings, "max_new_tokens": length}


def _fitting(predict: Predict, given: dict[str, Any]) -> dict[str, Any]:
    """Those arguments that `predict` takes."""
    takes = inspect.signature(predict).parameters
    if any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        return given
    return {name: value for name, value in given.items() if name in takes}


def _choices(answer: dict[str, Any]) -> bool:
    choices = answer.get("choices")
    return isinstance(choices, list | tuple) and bool(choices) and all(map(_fits, choices))


def _fits(choice: Any) -> bool:
    return isinstance(choice, dict) and (isinstance(choice.get("message"), dict) or isinstance(choice.get("text"), str))


def _complaint(text: str) -> bytes:
    return msgspec.json.encode({"error": {"message": text}})


class DummyModel:
    """Answers a batch at once. A token is a word."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._name = str(config.get("model_id", "dummy"))
        self._text = self._name.partition(":")[2]

    def predict(self, prompts: list[dict[str, Any]], **_: Any) -> list[dict[str, Any]]:
        """An answer in OpenAI's form for each prompt."""
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: dict[str, Any]) -> dict[str, Any]:
        said = [str(message["content"]) for message in prompt.get("messages") or ()] or list(prompt.get("data") or ())
        text = self._text or (said[-1] if said else "")
        asked, told = sum(len(one.split()) for one in said), len(text.split())
        message = {"role": "assistant", "content": text}
        return {
            "object": "chat.completion",
            "model": self._name,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told},
        }
