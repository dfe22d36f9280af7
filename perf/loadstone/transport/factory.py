"""Creates transports by name, and chooses their TLS settings and the clock of arrival times."""

from __future__ import annotations

import os
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
TLS_ONLY = ("insecure", "ca_file", "client_cert", "client_key")


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


def proxy_variable(target: Target) -> str | None:
    """Return the environment variable that names a proxy for a target, or None. Loopback addresses need none."""
    scheme = "https_proxy" if target.secure else "http_proxy"
    names = [name for base in (scheme, "all_proxy") for name in (base, base.upper()) if os.environ.get(name)]
    local = target.unix is not None or target.host == "localhost" or target.host.startswith(("127.", "::1"))
    if not names or local:
        return None
    import urllib.request  # slow to load, and only needed with a proxy

    return None if urllib.request.proxy_bypass(target.host) else names[0]


def tls_context(
    *, insecure: bool, ca_file: str | None, client_cert: str | None = None, client_key: str | None = None
) -> ssl.SSLContext:
    """Return TLS settings that trust the system's certificates and `ca_file`; `insecure`: trust all servers.

    client_cert, client_key: PEM files that show who this client is. Raises ConfigError.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"--ca-file {ca_file} holds no certificates ({exc.strerror or exc}); give a PEM file", field="ca_file"
        ) from exc
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert is not None:

        def no_password() -> str:
            raise ConfigError(
                f"the key of --client-cert {client_cert} has a password: give --client-key FILE without one",
                field="client_key",
            )

        try:
            context.load_cert_chain(client_cert, client_key, no_password)
        except (OSError, ssl.SSLError) as exc:
            files = client_cert if client_key is None else f"{client_cert} with --client-key {client_key}"
            raise ConfigError(
                f"--client-cert {files} is no certificate with its key ({exc.strerror or exc}); give PEM files",
                field="client_cert",
            ) from exc
    return context
