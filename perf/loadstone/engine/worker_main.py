"""One of several processes that carry out a run: `python -m loadstone.worker`, with messages on stdin and stdout.

Started by workers.py here, by swarm/ on other machines. It lives no longer than whoever started it: when its stdin ends
it cuts off what is in flight, writes the records down and ends. Ctrl-C is for its parent to hear.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from loadstone.engine import prepare
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.worker import Worker, WorkerInputs
from loadstone.engine.worker_messages import (  # fmt: skip
    LENGTH_BYTES,
    FrameSplitter,
    FromWorker,
    Ready,
    Refusal,
    SetConcurrency,
    StartSignal,
    Stop,
    ToWorker,
    WorkerSpec,
    decode_to_worker,
    encode_frame,
    unpack_plan,
)
from loadstone.errors import UsageError
from loadstone.host import event_loop


def main() -> None:
    """Serve one run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe_in, pipe_out = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what a class of somebody else's prints must not go among the messages
    commission = _first(pipe_in)
    if commission is not None:
        event_loop.run(_serve(commission, pipe_in, pipe_out))


def _first(pipe: int) -> WorkerSpec | None:
    """The commission; None when there is nobody to give one, or no longer to its end."""
    length = _exactly(pipe, LENGTH_BYTES)
    body = _exactly(pipe, int.from_bytes(length, "big"))
    message = decode_to_worker(body) if body else None
    assert message is None or isinstance(message, WorkerSpec)
    return message


def _exactly(pipe: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size and (part := os.read(pipe, size - len(parts))):
        parts += part
    return bytes(parts) if len(parts) == size else b""


async def _serve(commission: WorkerSpec, pipe_in: int, pipe_out: int) -> None:
    talk = await _Talk.open(pipe_in, pipe_out)
    try:
        part = _part(commission)
        engine = Worker(part)
    except (UsageError, OSError) as exc:
        talk.say(Refusal(str(exc)))
    else:
        await _carry_out(engine, talk)
        for door in part.endpoints:
            await door.transport.close()
    await talk.close()


async def _carry_out(engine: Worker, talk: _Talk) -> None:
    talk.say(Ready(os.getpid()))
    if (origin := await _word(talk)) is None:
        engine.close()
        return
    listening = asyncio.ensure_future(_obey(engine, talk))
    talk.say(await engine.run(talk.say, origin))
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening


async def _word(talk: _Talk) -> int | None:
    """When to begin; None when that is not to be."""
    while (message := await talk.hear()) is not None:
        if isinstance(message, StartSignal):
            return message.origin
        if isinstance(message, Stop):
            break
    return None


async def _obey(engine: Worker, talk: _Talk) -> None:
    while (message := await talk.hear()) is not None:
        if isinstance(message, SetConcurrency):
            engine.runner.set_concurrency(message.slots)
        elif isinstance(message, Stop):
            engine.stop(message.reason, message.grace)
    engine.stop("orphaned", 0.0)


def _part(commission: WorkerSpec) -> WorkerInputs:
    config = commission.config
    api = prepare.find_api(config)
    doors = [entrance.endpoint for entrance in prepare.endpoint_specs(config, api)]
    return WorkerInputs(
        config=config,
        api=api,
        plan=unpack_plan(commission.plan),
        requests=PreparedRequests(commission.prompts, prepare.request_builder(config, api, doors, commission.models)),
        endpoints=doors,
        records=Path(commission.records),
        partition=commission.partition,
        request_ids=commission.request_ids,
        live_concurrency=commission.live_concurrency,
    )


class _Talk:
    """Messages to and from whoever started this process. What cannot be written is not waited for."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.WriteTransport, end: _End) -> None:
        self._reader, self._transport, self._end = reader, transport, end
        self._frames, self._heard = FrameSplitter(), list[ToWorker]()

    @classmethod
    async def open(cls, pipe_in: int, pipe_out: int) -> _Talk:
        running, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        source, target = os.fdopen(pipe_in, "rb", 0), os.fdopen(pipe_out, "wb", 0)
        await running.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        transport, end = await running.connect_write_pipe(_End, target)
        return cls(reader, transport, end)

    def say(self, message: FromWorker) -> None:
        if not self._transport.is_closing():
            self._transport.write(encode_frame(message))

    async def hear(self) -> ToWorker | None:
        """The next message; None when there are no more."""
        while not self._heard:
            data = await self._reader.read(1 << 16)
            if not data:
                return None
            self._heard += map(decode_to_worker, self._frames.feed(data))
        return self._heard.pop(0)

    async def close(self) -> None:
        """When everything is written, or cannot be."""
        self._transport.close()
        await self._end.gone.wait()


class _End(asyncio.BaseProtocol):
    """Tells when a pipe is closed: all is written by then."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def connection_lost(self, _: Exception | None) -> None:
        self.gone.set()


if __name__ == "__main__":
    main()
    sys.exit(0)
