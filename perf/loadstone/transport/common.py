"""What both HTTP clients share: addresses in messages, failures of the network, keep-alive races, the user agent."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct

from loadstone.records import Failure, FailureCause, Resource
from loadstone.transport import Target
from loadstone.version import __version__

AGENT = f"loadstone/{__version__}"

# Seconds for which the end of a body may stay away after its last event, `data: [DONE]` say.
LINGER = 1.0
# Bytes of a response head.
MAX_HEAD = 2**18

# A server may close an idle connection just as the client sends on it (RFC 9112, 9.3.1). Then it has not read the
# request, and the client sees the close at most one round trip after the send. Nothing else shows it: a close has no
# timestamp, and a server that reads the request and closes at once looks the same. The slack covers the time that both
# ends take to notice; a server that has worked on the request for longer than this must not get it twice. The value is
# in ns, beyond the network's round trip.
KEEP_ALIVE_RACE = 2_000_000
# `tcpi_min_rtt` in Linux's struct tcp_info: microseconds.
_MIN_RTT = struct.Struct("=148xI")

_REASONS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ETIMEDOUT: "connection timed out in the network",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "network unreachable",
    errno.ENOENT: "no such socket",
    errno.EMFILE: "too many open files; raise the limit with ulimit -n",
    errno.ENFILE: "too many open files on this machine",
    errno.EADDRNOTAVAIL: "no local port is free; use more client addresses or fewer connections",
    errno.EACCES: "permission denied",
}
# Environment variables that name a proxy.
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
# What this machine lacks, by the error.
_LACKING = {
    errno.EMFILE: Resource.OPEN_FILES,
    errno.ENFILE: Resource.OPEN_FILES,
    errno.EADDRNOTAVAIL: Resource.LOCAL_PORTS,
}


def display_address(target: Target) -> str:
    """Return `host:port` as in messages and the Host header, or the path of a unix socket."""
    if target.unix is not None:
        return target.unix
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{target.port}"


def host_header(target: Target) -> str:
    """Return the Host header. It has no port if that is the scheme's default (RFC 9110, 7.2)."""
    if target.unix is not None:
        return "localhost"
    full = display_address(target)
    return full.rpartition(":")[0] if target.port == (443 if target.secure else 80) else full


def connect_failure(exc: OSError, target: Target) -> Failure:
    """Return the failure for an exception that was raised while a connection was opened."""
    if isinstance(exc, ssl.SSLError):
        if isinstance(exc, ssl.SSLCertVerificationError):
            reason = f"{exc.verify_message} (--ca-file FILE trusts a certificate, --insecure trusts all)"
        else:
            reason = (exc.reason or str(exc)).replace("_", " ").lower()
            if "wrong version" in reason or "http request" in reason:
                reason += "; is it a plain http:// server?"
        return Failure(FailureCause.TLS, f"TLS with {display_address(target)} failed: {reason}")
    if isinstance(exc, socket.gaierror):
        proxied = any(os.environ.get(name) for name in PROXIES)
        hint = " (a proxy is set in the environment: --transport aiohttp goes through it)" if proxied else ""
        message = f"the host name {target.host} does not resolve: {exc.strerror or exc}{hint}"
        return Failure(FailureCause.CONNECT, message)
    reason = _REASONS.get(exc.errno or 0) or exc.strerror or str(exc) or type(exc).__name__
    if target.secure and isinstance(exc, ConnectionError) and exc.errno != errno.ECONNREFUSED:
        return Failure(FailureCause.TLS, f"TLS with {display_address(target)} failed: {reason}")
    message = f"{display_address(target)}: {reason}"
    return Failure(FailureCause.CONNECT, message, _LACKING.get(exc.errno or 0))


def connect_timeout_failure(seconds: float) -> Failure:
    """Return the failure of a connection that was not open after `seconds`."""
    return Failure(FailureCause.TIMEOUT, f"no connection after {seconds:g} s (--connect-timeout)")


def connection_lost_failure(before_answer: bool, reset: bool) -> Failure:
    """Return the failure of a connection that was closed before any byte of the response, or inside it."""
    how = "connection reset by the server" if reset else "the server closed the connection"
    if before_answer:
        return Failure(FailureCause.CONNECT, f"{how} before it answered")
    return Failure(FailureCause.TRUNCATED, f"{how} inside the answer")


def large_head_failure() -> Failure:
    """Return the failure of a response whose head is larger than MAX_HEAD."""
    return Failure(FailureCause.PROTOCOL, f"the head of the answer is larger than {MAX_HEAD >> 10} KiB")


def is_keep_alive_race(sent: int | None, closed: int, round_trip: int) -> bool:
    """Return True if the server cannot have read a request whose reused connection it closed without an answer.

    sent, closed: ns, when the request was sent (None: not a byte of it was) and when the client saw the close.
    round_trip: ns between the client and the server.
    """
    return sent is None or closed - sent <= round_trip + KEEP_ALIVE_RACE


def shortest_round_trip(fd: int) -> int:
    """Return the shortest round trip of a TCP connection in ns. The kernel measures it, so client lag does not matter.

    Return 0 if the kernel has no measurement: unix sockets, systems other than Linux.
    """
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT.size)
        (microseconds,) = _MIN_RTT.unpack(info)
    except (OSError, AttributeError, struct.error):
        return 0
    return 0 if microseconds == 2**32 - 1 else int(microseconds) * 1000  # all bits set: not measured
