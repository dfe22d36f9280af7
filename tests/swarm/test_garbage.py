"""Bytes that are no message of Locust do not make the master deaf. In a process of its own, which Locust patches."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.paths import ROOT

PROGRAM = r"""
import msgpack
from locust.exception import RPCError, RPCReceiveError
from locust.rpc.protocol import Message
from loadstone.swarm.locust_hooks import ignore_garbage

class Server:
    content = b""

    def recv_from_client(self):
        if isinstance(self.content, Exception):
            raise self.content
        return "worker", Message.unserialize(self.content)

ignore_garbage(Server)
server = Server()
garbage = [
    b"", b"\x00", b"\xc1", b"\x93\x01", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000, msgpack.dumps(5), msgpack.dumps([1]),
    msgpack.dumps([[], {}, []]), msgpack.dumps(["client_ready", {}, ["unhashable"]]),
]
for server.content in garbage:
    try:
        server.recv_from_client()
    except RPCReceiveError:
        continue
    raise SystemExit(f"taken for a message: {server.content!r:.60}")
server.content = Message("client_ready", {"a": 1}, "w1").serialize()
sender, message = server.recv_from_client()
assert (sender, message.type, message.data, message.node_id) == ("worker", "client_ready", {"a": 1}, "w1")
server.content = RPCError("broken")
try:
    server.recv_from_client()
except RPCReceiveError:
    raise SystemExit("an error of the network is none of the message") from None
except RPCError:
    print("all is well")
"""


def test_what_is_no_message_is_an_error_that_locust_survives() -> None:
    pytest.importorskip("zmq")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "perf")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.stdout == "all is well\n", done.stdout + done.stderr[-2000:]
