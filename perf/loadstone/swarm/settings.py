"""The settings of a run in a swarm, from the environment, so that they are the same whoever starts Locust.

LOADSTONE_RUN holds the settings of `loadstone run` as JSON (`loadstone swarm master` puts its flags there),
LOADSTONE_CONFIG names a TOML file with them. Workers need neither: the master sends them all they need.
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
from loadstone.errors import ConfigError
from loadstone.host import client_health
from loadstone.text import MAX_LABEL, clean

# Variables of the master.
RUN, CONFIG, VIEW = "LOADSTONE_RUN", "LOADSTONE_CONFIG", "LOADSTONE_AS"
SILENCE = "LOADSTONE_SILENCE"
# Locust's own variable for the address of its web interface; --web-host has precedence over it.
WEB_HOST = "LOCUST_WEB_HOST"
# Variables of a worker.
PROCESSES, SPOOL = "LOADSTONE_PROCESSES", "LOADSTONE_SPOOL"


def config(environ: Mapping[str, str] = os.environ) -> Config:
    """Return the settings of the run. Raises ConfigError for an invalid one."""
    if text := environ.get(RUN):
        try:
            return msgspec.json.decode(text, type=Config)
        except msgspec.MsgspecError as exc:
            raise ConfigError(f"{RUN} is not a run: {exc}") from exc
    from loadstone.config.load import load_config

    path = environ.get(CONFIG)
    return load_config({"config": path} if path else {})


def check_sendable(config: Config) -> Config:
    """Return `config` unchanged. Raises ConfigError if it holds a secret: workers get it as it is."""
    if config.workers != "auto":
        raise ConfigError("--workers is for one machine: give each worker of a swarm its --processes", field="workers")
    shown = config.redacted()
    for name, value in msgspec.to_builtins(config).items():
        if shown[name] != value and HIDDEN in repr(shown[name]):
            raise ConfigError(
                f"--{flag(name)} holds what looks like a key, and a swarm's settings travel over the network:"
                " put the key into the environment of each machine (OPENAI_API_KEY, or --api-key-env NAME)"
            )
    return config


def plan_driven(config: Config) -> bool:
    """Return True if the plan alone determines the load: Locust's users then only show it."""
    return config.rate is not None or config.stages is not None or config.arrivals == REPLAY


def with_host(config: Config, host: str | None) -> Config:
    """Return `config` with Locust's --host as its server, unless it has several."""
    return msgspec.structs.replace(config, url=host) if host and len(config.urls) <= 1 else config


def check_host(config: Config, host: str | None) -> None:
    """Raise ConfigError if `host`, from the web interface, is not a server of the plan.

    Workers would send it their API key.
    """
    server = (host or "").strip().rstrip("/")
    if server and server not in [url.strip().rstrip("/") for url in config.urls]:
        known = " or ".join(hide_in_url(url) for url in config.urls) or "none"
        raise ConfigError(
            f"the host {clean(hide_in_url(server), MAX_LABEL)} is not the server of this plan ({known}), so no run"
            " was started: to test another server, start the master with its --url"
        )


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def view(environ: Mapping[str, str] = os.environ) -> str:
    """Return the format in which to print the report."""
    return environ.get(VIEW) or "text"


def silence(environ: Mapping[str, str] = os.environ) -> float:
    """Return the seconds without a message after which a machine counts as lost. Raises ConfigError."""
    text = environ.get(SILENCE, "20s")
    try:
        return parse_seconds(text)
    except ValueError as exc:
        raise ConfigError(f"{SILENCE} takes a time such as 20s, not {text!r}") from exc


class WorkerSettings(Struct, frozen=True):
    """The settings of one machine.

    processes: number of processes that send load.
    spool: folder of their records until the master has them.
    """

    processes: int
    spool: Path


def worker_settings(environ: Mapping[str, str] = os.environ) -> WorkerSettings:
    """Return the settings of this machine. Raises ConfigError."""
    text = environ.get(PROCESSES, "auto")
    if text != "auto" and not (text.isdecimal() and int(text)):
        raise ConfigError(f"{PROCESSES} takes auto or a number from 1, not {text!r}")
    cores = len(client_health.allowed_cores() or []) or os.cpu_count() or 1
    spool = Path(environ.get(SPOOL) or "loadstone-spool")
    return WorkerSettings(cores if text == "auto" else int(text), spool)
