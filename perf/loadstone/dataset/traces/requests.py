"""EvalScope's `workload_trace`: a recorded request a line, with `timestamp`, `body` and, if wanted, `headers`,
`request_id` and `completion_tokens`.

The body is sent as it was, less its model: --model decides. Keys and what belongs to the connection it came over are
left out of its headers. Which stretch is replayed is settled in recorded.py, how fast by the plan.
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
from loadstone.dataset.source import Options, RowPosition, Source
from loadstone.dataset.traces import replay
from loadstone.errors import UsageError
from loadstone.records import Prompt
from loadstone.units import NS_PER_S

IDS = ("request_id", "id")
LENGTHS = ("completion_tokens", "output_tokens", "output_len")
# Seconds; a larger number is not seconds but a fraction of them.
LATEST = 10**11
_SECRET = "authorization proxy-authorization cookie x-api-key api-key x-goog-api-key"
_HOP = "connection keep-alive proxy-connection te trailer transfer-encoding upgrade"  # RFC 9110, 7.6.1
_OURS = "host content-length content-type content-encoding accept accept-encoding expect"
UNSENT = frozenset(f"{_SECRET} {_HOP} {_OURS}".split())
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e]*")

Row = dict[str, Any]


def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Prompts in order of time. Raises UsageError."""
    timed = ((_instant(row, where), (where, row)) for where, row in map(_checked, rows(source)))
    found = replay.select_window(timed, source, options)
    models = sum("model" in _body(row, where) for _, (where, row) in found)
    if models:
        source.notice(f"{source.name}: the models that {models} bodies name are left out; --model holds")
    left_out = {name.lower() for _, (_, row) in found for name in row.get("headers") or () if _unsent(name)}
    if left_out:
        source.notice(f"{source.name}: headers that are not sent again: {', '.join(sorted(left_out))}")
    return (_prompt(row, where, at) for at, (where, row) in found)


def _checked(place: tuple[RowPosition, Any]) -> tuple[RowPosition, Row]:
    """The row, with a body that is an object and headers that can be sent."""
    where, row = place
    if not isinstance(row, dict):
        raise UsageError(f"{where}: not an object with `timestamp` and `body`")
    _body(row, where)
    _headers(row, where)
    return where, row


def _prompt(row: Row, where: RowPosition, at: int) -> Prompt:
    body = {key: value for key, value in _body(row, where).items() if key != "model"}
    prompt = request_prompt(body, where, drop=()) if is_request(body) else Prompt(id="", body=body)
    return msgspec.structs.replace(
        prompt,
        id=row_id(row, where, IDS),
        headers=_headers(row, where),
        output_len=output_len(row, where, LENGTHS),
        at=at,
    )


def _instant(row: Row, where: RowPosition) -> int:
    """ns since 1970, or since whenever the numbers count from."""
    value = row.get("timestamp")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _no_time(value, where)
    try:
        seconds = Decimal(str(value))  # a float of 1.7e9 seconds would lose a tenth of a microsecond
    except InvalidOperation:
        return _from_iso(str(value), where)
    if not (seconds.is_finite() and abs(seconds) < LATEST):
        raise _no_time(value, where)
    return round(seconds * NS_PER_S)


def _from_iso(text: str, where: RowPosition) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as exc:
        raise _no_time(text, where) from exc
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1000


def _no_time(value: object, where: RowPosition) -> UsageError:
    if value is None:
        return UsageError(f"{where}: no `timestamp` in the row; is this file a workload_trace?")
    return UsageError(f"{where}: timestamp is {str(value)[:40]!r}, neither seconds nor an ISO 8601 time")


def _body(row: Row, where: RowPosition) -> Row:
    body = row.get("body")
    if isinstance(body, str):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError) as exc:
            raise UsageError(f"{where}: body is a text that is not JSON") from exc
    if not isinstance(body, dict) or not body:
        raise UsageError(f"{where}: no `body` in the row that is a request")
    return body


def _headers(row: Row, where: RowPosition) -> dict[str, str]:
    headers = row.get("headers") or {}
    if not isinstance(headers, dict):
        raise UsageError(f"{where}: headers is not an object of names and values")
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise UsageError(f"{where}: the header {name!r} is not fit for HTTP")
    return {name: value for name, value in headers.items() if not _unsent(name)}


def _unsent(name: str) -> bool:
    return name.lower() in UNSENT or is_secret(name)
