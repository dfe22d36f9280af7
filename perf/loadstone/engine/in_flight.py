"""One request on its way: what the transport and the answer tell of it, its timeouts, and the record it becomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import UNSET, Struct

from loadstone.apis import API
from loadstone.apis.response_parser import ResponseParser
from loadstone.engine.requests import PreparedRequest
from loadstone.records import Choice, Failure, FailureKind, Phase, Record
from loadstone.transport import Clock, Exchange
from loadstone.units import NS_PER_S


class TimeLimits(Struct, frozen=True, kw_only=True):
    """Seconds. ttft: from sending to the first output. idle: between two outputs, and from the last to the end.
    whole: from the start, connecting included. cancel: after which the client takes back a request that is to be
    cancelled. None: no limit."""

    ttft: float | None = None
    idle: float | None = None
    total: float | None = None
    cancel_after: float | None = None

    def shortest(self, cancelled: bool) -> float | None:
        """No flight can break a limit earlier than this after its start."""
        waits = (self.ttft, self.idle, self.total, self.cancel_after if cancelled else None)
        return min((wait for wait in waits if wait is not None), default=None)


class Scheduled(Struct, frozen=True, kw_only=True, gc=False):
    """What the plan says of one request. `due`: ns of the run's clock."""

    index: int
    due: int
    phase: Phase = "measure"
    conversation: str | None = None
    turn: int | None = None
    stage: int | None = None
    server: int | None = None
    request_id: str | None = None
    cancelled: bool = False
    attempt: int = 0


class InFlightRequest:
    """A request from its dispatch to its record. `finish` and then `to_record` may be called once. `started_at`: ns, when its
    limits began. `retry_in`: seconds until it is to be made once more, if it is; to be set before it lands. `succeeded`: it has
    landed, and succeeded."""

    __slots__ = (
        "_clock",
        "_limits",
        "_loop",
        "_task",
        "_timer",
        "cancel_failure",
        "exchange",
        "prepared",
        "response",
        "retry_in",
        "scheduled",
        "started_at",
        "succeeded",
    )

    def __init__(
        self, order: Scheduled, job: PreparedRequest, api: API, clock: Clock, limits: TimeLimits, collect: bool
    ) -> None:
        self.scheduled = order
        self.prepared = job
        self.response = ResponseParser(api, stream=job.streamed, keep_text=collect)
        self.exchange = Exchange(self._head)
        self.cancel_failure: Failure | None = None
        self.retry_in: float | None = None
        self.succeeded = False
        self._clock = clock
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
        """From now on `check_timeouts` may be called, which ends a flight by cancelling `task`."""
        self._loop, self._task, self.started_at = loop, task, self._clock()

    def cancel(self, failure: Failure) -> None:
        """End the flight now, with this failure."""
        if self.cancel_failure is None:
            self.cancel_failure = failure
            self._task.cancel()

    def discard_response(self) -> None:
        """Forget what came of the response: recording it failed. The times of the exchange stay."""
        self.response, self.retry_in = ResponseParser(API(), stream=self.prepared.streamed), None

    @property
    def response_text(self) -> str:
        """The text of the first choice, if the answer was collected."""
        choices = self.response.choices()
        return (choices[0].text or "") if choices else ""

    def to_record(
        self,
        failure: Failure | None,
        origin: int,
        keep_text: Callable[[InFlightRequest], bool] | None,
        later: int = 0,
        worker: int = 0,
    ) -> Record:
        """The record, with times since `origin`. `failure`: as `finish` gave it. `later`: turns that follow this one,
        if it does not fail; `worker`: by which process."""
        exchange, reply, order, error = self.exchange, self.response, self.scheduled, failure
        kept = reply.choices() if keep_text is not None and keep_text(self) else []
        first = kept[0] if kept else Choice()

        return Record(
            index=order.index,
            phase=order.phase,
            worker=worker,
            prompt=self.prepared.prompt.id,
            conversation=order.conversation,
            turn=order.turn,
            abandoned=0 if error is None or self.retry_in is not None else later,
            stage=order.stage,
            model=self.prepared.model,
            server=order.server,
            request_id=order.request_id,
            streamed=reply.streamed,
            asked=self.prepared.output_len,
            scheduled=order.due - origin,
            sent=_since(exchange.sent, origin),
            connect=exchange.connect,
            first_byte=_since(exchange.first_byte, origin),
            first=_since(reply.first, origin),
            first_answer=_since(reply.first_answer, origin),
            last=_since(reply.last, origin),
            end=(exchange.end if exchange.end is not None else self._clock()) - origin,
            pieces=reply.pieces,
            reads=exchange.reads,
            clock=exchange.clock,
            retried=exchange.resent > 0,
            resent=exchange.resent or UNSET,
            status=exchange.status,
            finish=reply.finish_reason,
            usage=reply.usage,
            text=first.text,
            reasoning=first.reasoning,
            tools=reply.tool_calls() if kept else None,
            choices=kept if len(kept) > 1 else None,
            logprobs=reply.logprobs() if kept else None,
            attempt=order.attempt,
            superseded=self.retry_in is not None,
            error=error,
        )

    def finish(self, failure: Failure | None) -> Failure | None:
        """The exchange is over, by `failure` if one is given. Returns how the request failed, or None. Once."""
        if self._timer is not None:
            self._timer.cancel()
        if self.exchange.status is not None and self.response.status is None:
            self.response.start(self.exchange.status, self.exchange.header(b"content-type"))
        return self.response.finish(failure)

    def _head(self, data: bytes, at: int) -> None:
        """The first piece of the body: by now the status is known, and the rest goes straight to the reply."""
        assert self.exchange.status is not None
        self.response.start(self.exchange.status, self.exchange.header(b"content-type"))
        self.exchange.sink = self.response.feed
        self.response.feed(data, at)

    def check_timeouts(self) -> None:
        """One timer a request, moved on lazily: output does not touch it, it looks at the last output when it fires."""
        due, failure = self._deadline()
        left = due - self._clock()
        if left <= 0:
            self.cancel(failure)
        else:
            self._timer = self._loop.call_later(left / NS_PER_S, self.check_timeouts)

    def _deadline(self) -> tuple[float, Failure]:
        """The earliest instant at which the flight ends as things stand now, and as what."""
        limits, last, now = self._limits, self.response.last, self._clock()
        sent = now if self.exchange.sent is None else self.exchange.sent
        waits: tuple[tuple[int, float | None, FailureKind, str], ...] = (
            (self.started_at, limits.total, "timeout", "not complete after {:g} s (--timeout)"),
            (sent, limits.ttft if last is None else None, "timeout", "no output after {:g} s (--ttft-timeout)"),
            (last or 0, limits.idle if last is not None else None, "timeout", "no output for {:g} s (--idle-timeout)"),
            (
                sent,
                limits.cancel_after if self.scheduled.cancelled else None,
                "cancelled",
                "taken back after {:g} s (--cancel-after)",
            ),
        )
        ends = [
            (begun + wait * NS_PER_S, kind, text.format(wait)) for begun, wait, kind, text in waits if wait is not None
        ]
        due, kind, text = min(ends, default=(float("inf"), "timeout", ""))
        if limits.idle is not None and last is None:
            due = min(due, now + limits.idle * NS_PER_S)
        return due, Failure(kind, text)


def _since(at: int | None, origin: int) -> int | None:
    return None if at is None else at - origin


class Timeouts:
    """The limits of many flights by one timer until the soonest of them may break: most flights have landed by then,
    and have cost no timer of their own. All have the same limits, so they become due in the order in which they began.
    """

    def __init__(self, limits: TimeLimits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._soonest = limits.shortest(False)
        self._fresh: dict[InFlightRequest, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, flight: InFlightRequest, loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
        """Start the timeouts; they end the flight by cancelling `task`."""
        flight.start(loop, task)
        if flight.scheduled.cancelled:
            flight.check_timeouts()
        elif self._soonest is not None:
            self._fresh[flight] = None
            if self._timer is None:
                self._timer = loop.call_later(self._soonest, self._ring, loop)

    def stop(self, flight: InFlightRequest) -> None:
        """The flight is over. The timer goes with the last of them: nothing of a run is left in its event loop."""
        self._fresh.pop(flight, None)
        if not self._fresh and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._soonest is not None
        now, self._timer = self._clock(), None
        while self._fresh:
            flight = next(iter(self._fresh))
            left = self._soonest - (now - flight.started_at) / NS_PER_S
            if left > 0:
                self._timer = loop.call_later(left, self._ring, loop)
                return
            del self._fresh[flight]
            flight.check_timeouts()
