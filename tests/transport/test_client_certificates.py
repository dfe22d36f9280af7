"""Servers that ask for a certificate of the client."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from loadstone.errors import ConfigError
from loadstone.records import FailureCause
from loadstone.transport.factory import tls_context
from support.scripted_server import answering, ask, response
from support.transports import Stack, driven, refused


def files(folder: Path) -> tuple[ssl.SSLContext, str, str, str]:
    """A server's context that asks for a certificate, and the files of authority, certificate and key."""
    authority = trustme.CA()
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(asking)
    authority.configure_trust(asking)
    asking.verify_mode = ssl.CERT_REQUIRED
    client = authority.issue_cert("client.test")
    names = [str(folder / name) for name in ("ca.pem", "client.pem", "client.key")]
    authority.cert_pem.write_to_path(names[0])
    client.cert_chain_pems[0].write_to_path(names[1])
    client.private_key_pem.write_to_path(names[2])
    return asking, names[0], names[1], names[2]


@driven
async def test_a_certificate_lets_the_client_in(stack: Stack, tmp_path: Path) -> None:
    asking, ca_file, cert, key = files(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(Path(cert).read_bytes() + Path(key).read_bytes())
    for given in ((cert, key), (str(both), None)):
        trust = tls_context(insecure=False, ca_file=ca_file, client_cert=given[0], client_key=given[1])
        async with stack.talking(answering(response(b"ok")), trust, tls=asking) as (_, transport):
            assert (await ask(transport))[1].body == b"ok"


@driven
async def test_without_one_the_handshake_fails(stack: Stack, tmp_path: Path) -> None:
    asking, ca_file, _, _ = files(tmp_path)
    trust = tls_context(insecure=False, ca_file=ca_file)
    async with stack.talking(answering(response(b"ok")), trust, tls=asking) as (_, transport):
        failure, _, _ = await refused(transport)
        assert failure.kind in (FailureCause.TLS, FailureCause.CONNECT, FailureCause.TRUNCATED)


def test_files_that_are_no_certificate_are_refused(tmp_path: Path) -> None:
    _, _, cert, key = files(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, _, _, wrong_key = files(other)
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    for client_cert, client_key in (
        (str(tmp_path / "none.pem"), None),
        (str(text), None),
        (cert, None),
        (cert, wrong_key),
        (str(tmp_path), key),
    ):
        with pytest.raises(ConfigError, match="--client-cert") as caught:
            tls_context(insecure=False, ca_file=None, client_cert=client_cert, client_key=client_key)
        assert "PEM" in str(caught.value)
