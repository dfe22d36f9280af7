"""The settings of a run in a swarm, from the environment, so that they are the same whoever starts Locust.

LOADSTONE_RUN holds the settings of `loadstone run` as JSON (`loadstone swarm master` puts its flags there),
LOADSTONE_CONFIG names a TOML file with them. Workers need neither: the master sends them all they need.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from loadstone.config import kinds
from loadstone.config.flags import Flag, check, from_mapping, given
from loadstone.config.kinds import parse_seconds
from loadstone.config.parse import REPLAY
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
            fields = msgspec.json.decode(text, type=dict[str, Any])
            fields.pop("simulated", None)
            return from_mapping(Config, fields, "run")
        except (msgspec.MsgspecError, ConfigError, RecursionError) as exc:
            raise ConfigError(f"{RUN} is not a run: {exc}") from exc
    from loadstone.config.loading import load_config

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
    return dataclasses.replace(config, url=host) if host and len(config.urls) <= 1 else config


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


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """The settings of one machine."""

    processes: Annotated[
        int | Literal["auto"] | None,
        Flag("processes of a worker that send load (default: one for each core)", kinds.WORKERS, metavar="N", least=1),
    ] = None
    spool: Annotated[
        str | None,
        Flag(
            "folder in which a worker stores records until the master takes them (default: loadstone-spool)",
            metavar="DIR",
        ),
    ] = None

    @property
    def process_count(self) -> int:
        """Return the number of processes that send load."""
        if isinstance(self.processes, int):
            return self.processes
        return len(client_health.allowed_cores() or []) or os.cpu_count() or 1

    @property
    def folder(self) -> Path:
        """Return the folder of the records until the master has them."""
        return Path(self.spool or "loadstone-spool")


# Variables of a worker, by setting.
_WORKER = {"processes": PROCESSES, "spool": SPOOL}


def worker_environment(worker: WorkerSettings) -> dict[str, str]:
    """Return the variables for the settings that are given."""
    return {variable: str(getattr(worker, name)) for name, variable in _WORKER.items() if name in given(worker)}


def worker_settings(environ: Mapping[str, str] = os.environ) -> WorkerSettings:
    """Return the settings of this machine. Raises ConfigError."""
    fields = {name: environ[variable] for name, variable in _WORKER.items() if environ.get(variable)}
    try:
        worker = from_mapping(WorkerSettings, fields, "swarm")
        check(worker)
    except ConfigError as exc:
        raise ConfigError(f"{_WORKER[exc.field or 'processes']}: {exc}", field=exc.field) from exc
    return worker
