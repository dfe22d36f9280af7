"""The transports by name, and the TLS settings they share."""

from __future__ import annotations

import ssl
from importlib import import_module

from loadstone.records import UsageError
from loadstone.transport import Options, Target, Transport

TRANSPORTS = {
    "wire": "loadstone.transport.wire:Wire",
    "aiohttp": "loadstone.transport.over_aiohttp:Aiohttp",
}


def open_transport(name: str, target: Target, options: Options) -> Transport:
    """A transport to `target`; it connects when it is first used."""
    module, _, cls = TRANSPORTS[name].partition(":")
    transport: Transport = getattr(import_module(module), cls)(target, options)
    return transport


def tls_context(*, insecure: bool, ca_file: str | None) -> ssl.SSLContext:
    """Verifies by the system's certificates and those of `ca_file`; `insecure` trusts anybody."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise UsageError(f"--ca-file {ca_file} holds no certificates ({exc.strerror or exc}); give a PEM file") from exc
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
