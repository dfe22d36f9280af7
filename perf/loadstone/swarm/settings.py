"""What a run in a swarm is to be, from the environment: the one way to it, whoever calls Locust.

LOADSTONE_RUN holds the settings of `loadstone run` as JSON (`loadstone swarm master` puts its flags there),
LOADSTONE_CONFIG names a TOML file with them. Workers need neither: the master sends them all they have to know.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone.config.parse import REPLAY, parse_seconds
from loadstone.config.redact import HIDDEN, hide_in_url
from loadstone.config.schema import Config, flag
from loadstone.errors import UsageError
from loadstone.host import client_health
from loadstone.text import MAX_LABEL, clean

RUN, CONFIG, VIEW = "LOADSTONE_RUN", "LOADSTONE_CONFIG", "LOADSTONE_AS"
SILENCE = "LOADSTONE_SILENCE"
WEB_HOST = "LOCUST_WEB_HOST"
"""Locust's own variable for the address of its web interface; --web-host goes over it."""
PROCESSES, SPOOL = "LOADSTONE_PROCESSES", "LOADSTONE_SPOOL"


def config(environ: Mapping[str, str] = os.environ) -> Config:
    """The run to make. Raises UsageError."""
    if text := environ.get(RUN):
        try:
            return msgspec.json.decode(text, type=Config)
        except msgspec.MsgspecError as exc:
            raise UsageError(f"{RUN} is not a run: {exc}") from exc
    from loadstone.config.load import load_config

    path = environ.get(CONFIG)
    return load_config({"config": path} if path else {})


def sendable(config: Config) -> Config:
    """`config`, if it holds no secret: it travels to the workers as it is. Raises UsageError."""
    if config.workers != "auto":
        raise UsageError("--workers is for one machine: give each worker of a swarm its --processes")
    shown = config.redacted()
    for name, value in msgspec.to_builtins(config).items():
        if shown[name] != value and HIDDEN in repr(shown[name]):
            raise UsageError(
                f"--{flag(name)} holds what looks like a key, and a swarm's settings travel over the network:"
                " put the key into the environment of each machine (OPENAI_API_KEY, or --api-key-env NAME)"
            )
    return config


def shaped(config: Config) -> bool:
    """Whether the plan alone says when and how much: Locust's users then only show it."""
    return config.rate is not None or config.stages is not None or config.arrivals == REPLAY


def watched(config: Config) -> bool:
    """Whether what goes on may end the run."""
    return config.stop_error_rate is not None or config.stop_saturated


def planned(config: Config, host: str | None) -> Config:
    """Return `config` with Locust's --host, as given at the start, in the place of its only server, or of none."""
    return msgspec.structs.replace(config, url=host) if host and len(config.urls) <= 1 else config


def check_host(config: Config, host: str | None) -> None:
    """Raise UsageError if `host`, from the web interface, is not a server of the plan: workers send it their key."""
    named = (host or "").strip().rstrip("/")
    if named and named not in [url.strip().rstrip("/") for url in config.urls]:
        known = " or ".join(hide_in_url(url) for url in config.urls) or "none"
        raise UsageError(
            f"the host {clean(hide_in_url(named), MAX_LABEL)} is not the server of this plan ({known}), so no run"
            " was started: to test another server, start the master with its --url"
        )


def loopback(host: str) -> bool:
    """Return True if only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def view(environ: Mapping[str, str] = os.environ) -> str:
    """The view to print the report in."""
    return environ.get(VIEW) or "text"


def silence(environ: Mapping[str, str] = os.environ) -> float:
    """Seconds without a word after which the master gives a machine up. Raises UsageError."""
    said = environ.get(SILENCE, "20s")
    try:
        return parse_seconds(said)
    except ValueError as exc:
        raise UsageError(f"{SILENCE} takes a time such as 20s, not {said!r}") from exc


class Here(Struct, frozen=True):
    """This machine's part: how many processes send load, and where their records are kept on the way."""

    processes: int
    spool: Path


def here(environ: Mapping[str, str] = os.environ) -> Here:
    """Raises UsageError."""
    said = environ.get(PROCESSES, "auto")
    if said != "auto" and not (said.isdecimal() and int(said)):
        raise UsageError(f"{PROCESSES} takes auto or a number from 1, not {said!r}")
    cores = len(client_health.allowed_cores() or []) or os.cpu_count() or 1
    spool = Path(environ.get(SPOOL) or "loadstone-spool")
    return Here(cores if said == "auto" else int(said), spool)
