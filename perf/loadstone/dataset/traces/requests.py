"""EvalScope's `workload_trace`: a recorded request a line, with `timestamp`, `body` and, optionally, `headers`,
`request_id` and `completion_tokens`.

The body is sent as it was, without its model: --model decides. Headers with keys and headers of the recorded connection
are left out. replay.py selects the window; schedule/ applies --speed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from loadstone.config.redact import is_secret
from loadstone.dataset.formats.jsonl import rows
from loadstone.dataset.rows import is_request, output_len, request_prompt, row_id
from loadstone.dataset.source import Options, RowPosition, Source, uses
from loadstone.dataset.traces import replay
from loadstone.records import Prompt
from loadstone.units import NS_PER_S

IDS = ("request_id", "id")
LENGTHS = ("completion_tokens", "output_tokens", "output_len")
# Seconds; a larger number must be in ms or ns.
LATEST = 10**11
_SECRET = "authorization proxy-authorization cookie x-api-key api-key x-goog-api-key"
_HOP = "connection keep-alive proxy-connection te trailer transfer-encoding upgrade"  # RFC 9110, 7.6.1
_OURS = "host content-length content-type content-encoding accept accept-encoding expect"
# Headers that are not sent again: secrets, those of the connection, and those that this client writes itself.
UNSENT = frozenset(f"{_SECRET} {_HOP} {_OURS}".split())
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e]*")

Row = dict[str, Any]


@uses()
def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Return prompts in order of time. Raises DataError."""
    timed = []
    for position, row in rows(source):
        if not isinstance(row, dict):
            raise position.error("not an object with `timestamp` and `body`")
        _body(row, position)  # rows outside the window must be valid too
        _headers(row, position)
        timed.append((_timestamp(row, position), (position, row)))
    kept = replay.select_window(timed, source, options)

    # Tell the user what is not sent as it was recorded.
    models = sum("model" in _body(row, position) for _, (position, row) in kept)
    if models:
        source.notice(f"{source.name}: the models that {models} bodies name are left out; --model holds")
    names = {name.lower() for _, (_, row) in kept for name in row.get("headers") or () if _is_unsent(name)}
    if names:
        source.notice(f"{source.name}: headers that are not sent again: {', '.join(sorted(names))}")
    return (_prompt(row, position, at) for at, (position, row) in kept)


def _prompt(row: Row, position: RowPosition, at: int) -> Prompt:
    body = {key: value for key, value in _body(row, position).items() if key != "model"}
    prompt = request_prompt(body, position, drop=()) if is_request(body) else Prompt(id="", body=body)
    return msgspec.structs.replace(
        prompt,
        id=row_id(row, position, IDS),
        headers=_headers(row, position),
        output_len=output_len(row, position, LENGTHS),
        at=at,
    )


def _timestamp(row: Row, position: RowPosition) -> int:
    """Return the time of a row in ns, since 1970 or since wherever its numbers count from. Raises DataError."""
    value = row.get("timestamp")
    if value is None:
        raise position.error("no `timestamp` in the row; is this file a workload_trace?")
    refusal = position.error(f"timestamp is {str(value)[:40]!r}, neither seconds nor an ISO 8601 time")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise refusal
    try:
        seconds = Decimal(str(value))  # a float of 1.7e9 seconds would lose a tenth of a microsecond
    except InvalidOperation:
        try:
            moment = datetime.fromisoformat(str(value).strip())
        except ValueError as exc:
            raise refusal from exc
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        return since // timedelta(microseconds=1) * 1000
    if not (seconds.is_finite() and abs(seconds) < LATEST):
        raise refusal
    return round(seconds * NS_PER_S)


def _body(row: Row, position: RowPosition) -> Row:
    """Return the body of a request, parsed if it is JSON text. Raises DataError."""
    body = row.get("body")
    if isinstance(body, str):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError) as exc:
            raise position.error("body is a text that is not JSON") from exc
    if not isinstance(body, dict) or not body:
        raise position.error("no `body` in the row that is a request")
    return body


def _headers(row: Row, position: RowPosition) -> dict[str, str]:
    """Return the headers that are sent again. Raises DataError if HTTP forbids one."""
    headers = row.get("headers") or {}
    if not isinstance(headers, dict):
        raise position.error("headers is not an object of names and values")
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise position.error(f"the header {name!r} is not fit for HTTP")
    return {name: value for name, value in headers.items() if not _is_unsent(name)}


def _is_unsent(name: str) -> bool:
    """Return True for a header that is not sent again."""
    return name.lower() in UNSENT or is_secret(name)
