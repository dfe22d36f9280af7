"""Servers before a run: starting, slow, refusing, redirecting, and with all kinds of lists of models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from loadstone.apis.openai import Chat
from loadstone.config.schema import Config
from loadstone.engine import preflight
from loadstone.engine.requests import PreparedRequest
from loadstone.engine.sender import Endpoint
from loadstone.errors import ConfigError, ServerError
from loadstone.records import Failure, FailureCause, Prompt
from loadstone.summary import ServerInfo
from loadstone.transport import Exchange, Request, TransportError
from support import virtual_time

REFUSED = Failure(FailureCause.CONNECT, "h:1: connection refused")
LIST = json.dumps({"data": [{"id": "m"}, {"id": "n"}]}).encode()
STREAM = b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
Answer = tuple[int, bytes] | Failure | float


class Server:
    """A transport that gives the answers of a list, the last one again and again; a float is a wait before the next."""

    def __init__(self, *answers: Answer, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.answers = list(answers)
        self.headers = list(headers)
        self.asked = 0

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = self.answers[0]
        if isinstance(answer, Failure):
            raise TransportError(answer)
        assert not isinstance(answer, float)
        exchange.status, body = answer
        exchange.headers = self.headers
        exchange.sink(body, 1)
        exchange.end = 2

    async def close(self) -> None:
        """Nothing is open."""


def endpoint(server: Server, path: str = "/v1/chat/completions?api-key=hidden-key") -> Endpoint:
    return Endpoint(server, path, "/v1/models?api-key=hidden-key", "http://h:1/v1?api-key=***", "http://h:1")


class Outcome:
    """What came of a query in virtual time: `value` or `error`, the notices, and the seconds that it took."""

    def __init__(self, query: Callable[[Callable[[str], None]], Any]) -> None:
        self.notices: list[str] = []
        self.value: Any = None
        self.error = ""
        self.kind: type[Exception] | None = None

        async def work() -> None:
            began = asyncio.get_running_loop().time()
            try:
                self.value = await query(self.notices.append)
            except (ServerError, ConfigError) as exc:
                self.error, self.kind = str(exc), type(exc)
            self.seconds = asyncio.get_running_loop().time() - began

        virtual_time.run(work())
        assert "hidden-key" not in self.error + "".join(self.notices)


def listing(server: Server, wait: float | None = None) -> Outcome:
    return Outcome(lambda notice: preflight.query_server(endpoint(server), (), "set a key", wait, notice))


def first(server: Server, api: type[Chat] = Chat, models: list[str] | None = None, **config: Any) -> Outcome:
    at = endpoint(server)
    prepared = PreparedRequest(Prompt(id="p", text="Hi"), Request("POST", at.path), True, None)
    return Outcome(lambda notice: preflight.probe(at, prepared, api(), models, Config(**config), notice))


LOADING = (503, b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}')
GATEWAY = (502, b"<html>502 Bad Gateway</html>")


def test_a_server_that_is_starting_is_waited_for() -> None:
    server = Server(REFUSED, REFUSED, GATEWAY, LOADING, LOADING, (200, LIST))
    found = listing(server, wait=60)
    assert found.value.models == ["m", "n"]
    assert (server.asked, found.seconds) == (6, pytest.approx(5 * preflight.WAIT_EVERY))
    # One line for each new reason, not for each attempt.
    assert [
        words in notice
        for words, notice in zip(("connection refused", "502", "Loading model"), found.notices, strict=True)
    ] == [True] * 3


@pytest.mark.parametrize(
    ("answer", "words"), [(REFUSED, "connection refused"), (LOADING, "Loading model"), (GATEWAY, "502")]
)
def test_a_server_that_does_not_start_in_time_ends_the_wait(answer: Answer, words: str) -> None:
    found = listing(Server(answer), wait=30)
    assert found.error.startswith("not ready after 30 s (--wait): ")
    assert words in found.error
    assert found.seconds == pytest.approx(30, abs=preflight.WAIT_EVERY)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_ends_the_wait_at_once(status: int) -> None:
    server = Server(REFUSED, (status, b'{"error":"no such key"}'))
    found = listing(server, wait=600)
    assert "refuses the request" in found.error
    assert "no such key" in found.error
    assert found.error.endswith("set a key")
    assert server.asked == 2


def test_without_wait_the_sentence_says_how_to() -> None:
    found = listing(Server(REFUSED))
    assert "connection refused" in found.error
    assert "--wait" in found.error
    assert found.seconds == 0
    assert listing(Server(LOADING)).value.models is None  # it may answer requests: the first one shows it


@pytest.mark.parametrize(
    ("status", "body", "models", "problem"),
    [
        (200, LIST, ["m", "n"], None),
        (200, b'[{"id":"m"},"n",{"name":"o"},{"id":5},null]', ["m", "n", "o"], None),
        (200, b'{"models":[{"name":"m"}]}', ["m"], None),
        (200, b'{"object":"list","data":[]}', [], "an empty list"),
        (200, b'{"data":{"a":1}}', None, "JSON without a list of models"),
        (200, b"<html><title>Sign in</title>", None, "Sign in"),
        (200, b"", None, "not JSON"),
        (200, b'{"data":' + b"[" * 100_000, None, "not JSON"),
        (200, b'{"data":[{"id":%b}]}' % (b"9" * 5000), [], "an empty list"),
        (200, b'{"data":[{"id":"' + b"x" * 2000 + b'"}]}', [], "an empty list"),
        (500, b'{"error":{"message":"engine died"}}', None, "HTTP 500: engine died"),
        (404, b'{"detail":"Not Found"}', None, "HTTP 404: Not Found"),
    ],
)
def test_lists_of_models(status: int, body: bytes, models: list[str] | None, problem: str | None) -> None:
    server = Server((status, body))
    info = listing(server).value
    assert info.models == models
    if problem is None:
        assert info.problem is None
        assert preflight.choose_model(info, None, endpoint(server)) == (models[0] if models else "", True)
        return
    assert problem in info.problem
    with pytest.raises(ConfigError) as caught:
        preflight.choose_model(info, None, endpoint(server))
    assert problem in str(caught.value)
    assert "GET http://h:1/v1/models?api-key=***" in str(caught.value)
    assert "--model" in str(caught.value)
    assert preflight.choose_model(info, "mine", endpoint(server)) == ("mine", False)


def test_a_protocol_without_model_names_needs_none() -> None:
    assert preflight.choose_model(ServerInfo(), None, endpoint(Server(LOADING)), needed=False) == ("", True)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_names_its_target(status: int) -> None:
    headers = [(b"Location", b"https://elsewhere.test/v1/chat/completions?token=hidden-key")]
    found = first(Server((status, b""), headers=headers))
    assert "POST http://h:1/v1/chat/completions?api-key=***" in found.error
    assert "https://elsewhere.test/v1/chat/completions?token=***" in found.error
    listed = listing(Server((status, b""), headers=headers)).value
    assert "elsewhere.test" in listed.problem


@pytest.mark.parametrize("status", [404, 405])
def test_a_path_that_does_not_exist_is_named_with_what_sets_it(status: int) -> None:
    found = first(Server((status, b'{"detail":"Not Found"}')), models=[f"m{number}" for number in range(9)])
    assert "POST http://h:1/v1/chat/completions?api-key=***" in found.error
    assert "Not Found" in found.error
    assert "m4 and 4 more" in found.error
    assert "--api" in found.error
    assert "--path" in found.error


def test_a_first_request_that_takes_long_is_announced_and_awaited() -> None:
    found = first(Server(90.0, (200, STREAM)))
    assert (found.error, len(found.notices)) == ("", 1)
    assert "--first-timeout" in found.notices[0]
    assert found.seconds == pytest.approx(90)
    late = first(Server(90.0, (200, STREAM)), first_timeout=60.0)
    assert "within 60 s" in late.error
    assert "--first-timeout" in late.error
    assert late.seconds == pytest.approx(60)


def test_with_wait_the_first_request_is_part_of_getting_ready() -> None:
    server = Server(LOADING, GATEWAY, (200, STREAM))
    found = first(server, wait=600.0)
    assert (found.error, server.asked, len(found.notices)) == ("", 3, 2)
    assert first(Server(LOADING)).error == ""  # busy: the run shows what it does then


def test_an_answer_that_is_none_of_this_protocol() -> None:
    assert "not as --api expects" in first(Server((200, b"<html>Sign in</html>"))).error


def test_a_body_without_limit_is_cut() -> None:
    server = Server((500, b"x" * (preflight.MAX_BODY + 5)))
    found = first(server)
    assert "HTTP 500" in found.error
    assert len(found.error) < 800
