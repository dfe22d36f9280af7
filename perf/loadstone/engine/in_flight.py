"""One request from its start to its record: the exchange, the response, its timeouts, and the record of the two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import UNSET

from loadstone.apis.response_parser import ResponseParser
from loadstone.config.redact import hide_in_url
from loadstone.config.schema import Config
from loadstone.engine.requests import PreparedRequest
from loadstone.records import Choice, Failure, FailureCause, Phase, Record
from loadstone.text import MAX_LABEL, clean
from loadstone.transport import Clock, Exchange
from loadstone.units import NS_PER_S


class InFlightRequest:
    """A request from its start to its record: as the plan has it, the exchange, and the response.

    prepared: what is sent.
    index: number of the request among all of the run.
    due: when it is due, ns of the clock.
    turn: turn of its conversation, from 1; None for a single request.
    stage, server: numbers; None where there is only one.
    cancelled: True if the client is to cancel it (--cancel-share).
    attempt: 0 for the first, then one more for each retry.
    started_at: ns, from which its limits count.
    cancel_failure: the failure that this client ended it with, if it did.
    retry_in: seconds until its retry, if there is one; set it before `to_record`.
    succeeded: True once it is recorded without a failure.
    loop, task, timer: of its limits; set by `Timeouts`.
    """

    __slots__ = (
        "_clock",
        "_limits",
        "attempt",
        "cancel_failure",
        "cancelled",
        "conversation",
        "due",
        "exchange",
        "index",
        "loop",
        "phase",
        "prepared",
        "request_id",
        "response",
        "retry_in",
        "server",
        "stage",
        "started_at",
        "succeeded",
        "task",
        "timer",
        "turn",
    )

    loop: asyncio.AbstractEventLoop
    task: asyncio.Task[None]
    started_at: int

    def __init__(
        self,
        prepared: PreparedRequest,
        response: ResponseParser,
        clock: Clock,
        limits: Config,
        index: int,
        due: int,
        phase: Phase,
        conversation: str | None = None,
        turn: int | None = None,
        stage: int | None = None,
        server: int | None = None,
        request_id: str | None = None,
        cancelled: bool = False,
        attempt: int = 0,
    ) -> None:
        self.prepared = prepared
        self.response = response
        self.exchange = Exchange(self._read_first_piece)
        self.index = index
        self.due = due
        self.phase = phase
        self.conversation = conversation
        self.turn = turn
        self.stage = stage
        self.server = server
        self.request_id = request_id
        self.cancelled = cancelled
        self.attempt = attempt
        self.cancel_failure: Failure | None = None
        self.retry_in: float | None = None
        self.succeeded = False
        self.timer: asyncio.TimerHandle | None = None
        self._clock = clock
        self._limits = limits

    def cancel(self, failure: Failure) -> None:
        """End the request now, with this failure."""
        if self.cancel_failure is None:
            self.cancel_failure = failure
            self.task.cancel()

    def to_record(
        self,
        failure: Failure | None,
        origin: int,
        keep_text: Callable[[InFlightRequest], bool] | None,
        turns_left: int = 0,
        worker: int = 0,
    ) -> Record:
        """Return the record, with times in ns since `origin`.

        failure: how the request failed; None if it succeeded.
        keep_text: decides whether the record holds the texts; None: it holds none.
        turns_left: later turns of the conversation, recorded as abandoned if this one fails.
        worker: number of this process among those of the run.
        """
        exchange = self.exchange
        response = self.response
        kept = response.choices() if keep_text is not None and keep_text(self) else []
        first = kept[0] if kept else Choice()

        return Record(
            index=self.index,
            phase=self.phase,
            worker=worker,
            prompt=self.prepared.prompt.id,
            conversation=self.conversation,
            turn=self.turn,
            abandoned=0 if failure is None or self.retry_in is not None else turns_left,
            stage=self.stage,
            model=self.prepared.model,
            server=self.server,
            request_id=self.request_id,
            streamed=response.streamed,
            asked=self.prepared.output_len,
            scheduled=self.due - origin,
            sent=None if exchange.sent is None else exchange.sent - origin,
            connect=exchange.connect,
            first_byte=None if exchange.first_byte is None else exchange.first_byte - origin,
            first=None if response.first is None else response.first - origin,
            first_answer=None if response.first_answer is None else response.first_answer - origin,
            last=None if response.last is None else response.last - origin,
            end=(exchange.end if exchange.end is not None else self._clock()) - origin,
            pieces=response.pieces,
            reads=exchange.reads,
            clock=exchange.clock,
            retried=exchange.resent > 0,
            resent=exchange.resent or UNSET,
            status=exchange.status,
            finish=response.finish_reason,
            usage=response.usage,
            text=first.text,
            reasoning=first.reasoning,
            tools=response.tool_calls() if kept else None,
            choices=kept if len(kept) > 1 else None,
            logprobs=response.logprobs() if kept else None,
            attempt=self.attempt,
            superseded=self.retry_in is not None,
            summarized=response.summarized or UNSET,
            unterminated=exchange.unterminated or UNSET,
            error=failure,
        )

    def _read_first_piece(self, data: bytes, at: int) -> bool | None:
        """Read the first piece of the body, with the status. All further pieces go straight to the parser."""
        self.start_response()
        self.exchange.sink = self.response.feed
        return self.response.feed(data, at)

    def start_response(self) -> None:
        """Hand the head of the response to the parser. Requires that it has come."""
        exchange = self.exchange
        status = exchange.status
        assert status is not None
        remark = None
        if 300 <= status < 400 and (location := exchange.header(b"location")) is not None:
            target = hide_in_url(clean(location.decode("latin-1"), MAX_LABEL))
            remark = f"redirects to {target}, which is not followed: give that address as --url"
        elif status in (404, 405):
            remark = f"asked was POST {hide_in_url(self.prepared.request.path)}"
        encoding = exchange.header(b"content-encoding")
        self.response.start(status, exchange.header(b"content-type"), encoding, remark)

    def check_timeouts(self) -> None:
        """End the request if a limit has passed, else set a timer for the next limit.

        The timer is moved lazily: output does not touch it, it looks at the last output when it fires.
        """
        limits = self._limits
        last = self.response.last
        now = self._clock()
        sent = now if self.exchange.sent is None else self.exchange.sent
        ttft = limits.ttft_timeout if last is None else None
        idle = limits.idle_timeout if last is not None else None
        cancel = limits.cancel_after if self.cancelled else None
        waits: tuple[tuple[int, float | None, FailureCause, str], ...] = (
            (self.started_at, limits.timeout, FailureCause.TIMEOUT, "not complete after {:g} s (--timeout)"),
            (sent, ttft, FailureCause.TIMEOUT, "no output after {:g} s (--ttft-timeout)"),
            (last or 0, idle, FailureCause.TIMEOUT, "no output for {:g} s (--idle-timeout)"),
            (sent, cancel, FailureCause.CANCELLED, "cancelled after {:g} s (--cancel-after)"),
        )

        # The earliest instant (ns) at which the request ends unless it makes progress, and its failure then.
        ends = [
            (start + wait * NS_PER_S, kind, text.format(wait)) for start, wait, kind, text in waits if wait is not None
        ]
        due, kind, text = min(ends, default=(float("inf"), FailureCause.TIMEOUT, ""))
        # The idle limit begins with the first output, whenever that comes: look again after it.
        if limits.idle_timeout is not None and last is None:
            due = min(due, now + limits.idle_timeout * NS_PER_S)

        left = due - self._clock()
        if left <= 0:
            self.cancel(Failure(kind, text))
        else:
            self.timer = self.loop.call_later(left / NS_PER_S, self.check_timeouts)


class Timeouts:
    """The limits of many requests, by one timer that rings when the first of them may break a limit.

    Most requests have ended by then and never had a timer of their own. All have the same limits, so they become due
    in the order in which they started.
    """

    def __init__(self, limits: Config, clock: Clock) -> None:
        self._clock = clock
        # Seconds before which no request can time out; None: there are no limits.
        waits = (wait for wait in (limits.ttft_timeout, limits.idle_timeout, limits.timeout) if wait is not None)
        self._shortest = min(waits, default=None)
        self._waiting: dict[InFlightRequest, None] = {}  # in the order in which they started
        self._timer: asyncio.TimerHandle | None = None

    def start(self, request: InFlightRequest, loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
        """Start the timeouts of a request; they end it by cancelling `task`."""
        request.loop = loop
        request.task = task
        request.started_at = self._clock()
        if request.cancelled:
            request.check_timeouts()
        elif self._shortest is not None:
            self._waiting[request] = None
            if self._timer is None:
                self._timer = loop.call_later(self._shortest, self._check_started, loop)

    def stop(self, request: InFlightRequest) -> None:
        """Stop the timeouts of a request that has ended. Without requests there is no timer left in the event loop."""
        if request.timer is not None:
            request.timer.cancel()
        self._waiting.pop(request, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_started(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check each request for which the shortest limit has passed since it started."""
        assert self._shortest is not None
        now = self._clock()
        self._timer = None
        while self._waiting:
            request = next(iter(self._waiting))
            left = self._shortest - (now - request.started_at) / NS_PER_S
            if left > 0:
                self._timer = loop.call_later(left, self._check_started, loop)
                return
            del self._waiting[request]
            request.check_timeouts()
