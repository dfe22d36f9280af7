"""Serve one run as a worker process: `python -m loadstone.engine.worker_main`, with messages on stdin and stdout.

`worker_pool.py` starts it here, `swarm/` on other machines. It ends with its parent: when its stdin ends it cancels
what is in flight, writes the records and exits. It ignores Ctrl-C, which is for its parent to handle.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from loadstone.engine import prepare
from loadstone.engine.prepare import PreparedRun
from loadstone.engine.worker import Worker
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
from loadstone.summary import EndReason


def main() -> None:
    """Run one worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe_in, pipe_out = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what a user's own class prints must not get among the messages

    # The first message is the spec. Without it, or without its end, there is no parent to work for.
    length = _read_exactly(pipe_in, LENGTH_BYTES)
    body = _read_exactly(pipe_in, int.from_bytes(length, "big"))
    if body:
        spec = decode_to_worker(body)
        assert isinstance(spec, WorkerSpec)
        event_loop.run(_serve(spec, pipe_in, pipe_out))


def _read_exactly(pipe: int, size: int) -> bytes:
    """Read `size` bytes; none if the pipe ends before."""
    data = bytearray()
    while len(data) < size and (piece := os.read(pipe, size - len(data))):
        data += piece
    return bytes(data) if len(data) == size else b""


async def _serve(spec: WorkerSpec, pipe_in: int, pipe_out: int) -> None:
    """Run the worker of a spec, or refuse it with a sentence."""
    channel = await _ParentChannel.open(pipe_in, pipe_out)
    config = spec.config
    try:
        api = prepare.find_api(config)
        endpoints = prepare.create_endpoints(config, api)
        requests = prepare.prepare_requests(config, api, endpoints, spec.models, spec.prompts)
        prepared = PreparedRun(config, api, unpack_plan(spec.plan), requests, endpoints, spec.models)
        worker = Worker(prepared, Path(spec.records), spec.request_ids, spec.partition, spec.live_concurrency)
    except (UsageError, OSError) as exc:
        channel.send(Refusal(str(exc)))
        await channel.close()
        return

    # Wait for the start signal, run, and send the result. Without a start signal nothing is sent.
    channel.send(Ready(os.getpid()))
    while not isinstance(message := await channel.receive(), StartSignal):
        if message is None or isinstance(message, Stop):
            worker.close()
            break
    else:
        following = asyncio.ensure_future(_follow_parent(worker, channel))
        end = await worker.run(channel.send, message.origin)
        channel.send(end.results[0])
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
    for endpoint in endpoints:
        await endpoint.transport.close()
    await channel.close()


async def _follow_parent(worker: Worker, channel: _ParentChannel) -> None:
    """Apply the parent's messages; stop the run when the parent is gone."""
    while (message := await channel.receive()) is not None:
        if isinstance(message, SetConcurrency):
            worker.runner.set_concurrency(message.slots)
        elif isinstance(message, Stop):
            worker.runner.stop(message.reason, message.grace)
    worker.runner.stop(EndReason.ORPHANED, 0.0)


class _ParentChannel:
    """Messages from and to the parent. Does not wait for what cannot be written."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.WriteTransport, end: _PipeEnd) -> None:
        self._reader = reader
        self._transport = transport
        self._end = end
        self._splitter = FrameSplitter()
        self._received = list[ToWorker]()

    @classmethod
    async def open(cls, pipe_in: int, pipe_out: int) -> _ParentChannel:
        """Open the channel on two file descriptors."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        source, target = os.fdopen(pipe_in, "rb", 0), os.fdopen(pipe_out, "wb", 0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        transport, end = await loop.connect_write_pipe(_PipeEnd, target)
        return cls(reader, transport, end)

    def send(self, message: FromWorker) -> None:
        """Send a message, unless the parent is gone."""
        if not self._transport.is_closing():
            self._transport.write(encode_frame(message))

    async def receive(self) -> ToWorker | None:
        """Return the next message; None when there are no more."""
        while not self._received:
            data = await self._reader.read(1 << 16)
            if not data:
                return None
            self._received += map(decode_to_worker, self._splitter.feed(data))
        return self._received.pop(0)

    async def close(self) -> None:
        """Wait until everything is written, or cannot be, and close."""
        self._transport.close()
        await self._end.closed.wait()


class _PipeEnd(asyncio.BaseProtocol):
    """Sets an event when a pipe is closed: everything is written by then."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    def connection_lost(self, _: Exception | None) -> None:
        """Note that the pipe is closed."""
        self.closed.set()


if __name__ == "__main__":
    main()
    sys.exit(0)
