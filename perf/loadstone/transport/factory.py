"""Creates transports by name, and chooses their TLS settings and the clock of arrival times."""

from __future__ import annotations

import ssl
from importlib import import_module
from typing import Literal

from loadstone.errors import ConfigError
from loadstone.records import ArrivalClock
from loadstone.transport import Options, Target, Transport, kernel_timestamps

TRANSPORTS = {
    "wire": "loadstone.transport.wire:Wire",
    "aiohttp": "loadstone.transport.aiohttp_client:Aiohttp",
}

# Settings of a run that no transport to a server uses, and those without effect on a connection without TLS.
SERVER_UNUSED = ("batch_size",)
TLS_ONLY = ("insecure", "ca_file")


def open_transport(name: str, target: Target, options: Options) -> Transport:
    """Return a transport to `target`; it connects when it is first used."""
    module, _, cls = TRANSPORTS[name].partition(":")
    transport: Transport = getattr(import_module(module), cls)(target, options)
    return transport


def choose_arrival_clock(requested: Literal["auto", "kernel", "user"], name: str, target: Target) -> ArrivalClock:
    """Return the clock of arrival times. Raises ConfigError if the kernel's was requested but is not available.

    requested: value of --clock. name: name of the transport.
    """
    if requested == "user":
        return "user"
    if name != "wire":
        reason = f"with --transport {name}, which reads its sockets by itself"
    elif target.unix is not None:
        reason = "over a unix socket, whose data the kernel does not stamp"
    elif target.secure:
        reason = "over https://, where the time of a packet is not that of the text in it"
    elif not kernel_timestamps.available():
        reason = "on this system, whose kernel stamps no packets (Linux does)"
    else:
        return "kernel"
    if requested == "kernel":
        raise ConfigError(f"--clock kernel cannot be had {reason}; leave it out, or say --clock user", field="clock")
    return "user"


def tls_context(*, insecure: bool, ca_file: str | None) -> ssl.SSLContext:
    """Return TLS settings that trust the system's certificates and `ca_file`; `insecure`: trust all servers."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"--ca-file {ca_file} holds no certificates ({exc.strerror or exc}); give a PEM file", field="ca_file"
        ) from exc
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
