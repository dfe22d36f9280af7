"""Fixtures of the transport tests."""

from __future__ import annotations

import ssl

import pytest
import trustme

from loadstone.transport import common
from support.transports import LOOPS, TRANSPORTS, Certificates, Stack


@pytest.fixture(scope="module", params=[Stack(name, loop) for name in TRANSPORTS for loop in LOOPS], ids="-".join)
def stack(request: pytest.FixtureRequest) -> Stack:
    assert isinstance(request.param, Stack)
    return request.param


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a test takes to close a connection, it is at once."""
    monkeypatch.setattr(common, "KEEP_ALIVE_RACE", 60_000_000_000)


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    authority = trustme.CA()
    here, other = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(here)
    authority.issue_cert("other.test").configure_cert(other)
    trusting, insecure = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(trusting)
    insecure.check_hostname = False
    insecure.verify_mode = ssl.CERT_NONE
    return Certificates(here, other, trusting, insecure)
