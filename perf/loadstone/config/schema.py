"""The configuration of a run, composed of its groups of settings: server, prompts, requests, load, limits, output.

Each setting stands once, in the file of its group, with its flag, type, bounds and help beside it. Times are seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from loadstone.config import flags
from loadstone.config.flags import Flag
from loadstone.config.limits import Limits
from loadstone.config.load import Load
from loadstone.config.output import Output, Scraping
from loadstone.config.parse import REPLAY
from loadstone.config.providers import DEFAULT_API
from loadstone.config.redact import HEADER_NAME, HEADER_VALUE
from loadstone.config.sampling import Sampling
from loadstone.config.server import DUMMY as DUMMY
from loadstone.config.server import Server
from loadstone.config.slo import check_goodput
from loadstone.config.workload import Requests, Workload
from loadstone.errors import ConfigError

# Defaults of a run that sets neither its load nor its length.
DEFAULT_REQUESTS = 100
DEFAULT_CONCURRENCY = 8


# A dataclass has the fields of its last base first.
@dataclass(frozen=True, kw_only=True)
class Config(Output, Scraping, Load, Sampling, Requests, Workload, Limits, Server):
    """The settings of one run. Call `check()` before use."""

    GROUP: ClassVar = "results"

    # No setting: True if the run started a simulated server itself, whose address `url` is.
    simulated: bool = False
    save_text: Annotated[bool, Flag("save the answers in the records", vary=False)] = False

    def check(self) -> Config:
        """Check the settings and return the configuration. Raises ConfigError."""
        flags.check(self)
        check_goodput(self.goodput)
        self.check_load()
        # Nothing is scraped with --no-scrape, and names are matched by a regular expression.
        for name, default in (("scrape_every", 1.0), ("scrape_name", None), ("scrape_all", False)):
            if self.scrape is False and getattr(self, name) != default:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} and --no-scrape exclude each other: nothing is scraped", field=name)
        try:
            re.compile(self.scrape_name or "")
        except re.error as exc:
            text = f"--scrape-name takes a regular expression, not {self.scrape_name!r}: {exc}"
            raise ConfigError(text, field="scrape_name") from exc
        if self.request_id is not None and any(name.lower() == "x-request-id" for name in self.header):
            text = "--request-id and a --header X-Request-Id say the same thing twice: give one of them"
            raise ConfigError(text, field="request_id")
        if self.request_id and not HEADER_VALUE.fullmatch(self.request_id):
            text = f"--request-id takes one line of ASCII, as it is sent in a header, not {self.request_id!r}"
            raise ConfigError(text, field="request_id")
        if self.session_header is not None and not HEADER_NAME.fullmatch(self.session_header):
            text = f"--session-header takes the name of a header such as X-Session-ID, not {self.session_header!r}"
            raise ConfigError(text, field="session_header")
        self.models  # noqa: B018  parsed on access
        return self

    def with_defaults(self, timed: bool) -> Config:
        """Return the configuration with the defaults that depend on the dataset.

        timed: True if it has recorded times; it is replayed then, unless another load is set. Raises ConfigError.
        """
        changes: dict[str, Any] = {"api": self.api or DEFAULT_API}
        named = self.rate is not None or self.stages is not None
        if timed and self.arrivals is None and not named and self.concurrency is None:
            changes["arrivals"] = REPLAY
        replay = REPLAY in (self.arrivals, changes.get("arrivals"))
        if not replay and not self.stages and self.requests is None and self.duration is None:
            changes["requests"] = DEFAULT_REQUESTS
        if not replay and not named and self.concurrency is None:
            changes["concurrency"] = DEFAULT_CONCURRENCY
        if not timed and (self.trace_from is not None or self.trace_to is not None):
            text = "--from and --to take a window of recorded times, and this dataset has none"
            raise ConfigError(text, field="trace_to" if self.trace_from is None else "trace_from")
        if self.speed is not None and not replay:
            text = "--speed is for recorded times: give a trace, and neither --rate, --stages nor -c alone"
            raise ConfigError(text, field="speed")
        if named and self.arrivals is None:
            changes["arrivals"] = "poisson" if self.burstiness is None else "gamma"
        return replace(self, **changes)

    def redacted(self) -> dict[str, Any]:
        """Return the settings for files and reports: keys, tokens and passwords are hidden."""
        return flags.redacted(self)


def flag(field: str) -> str:
    """Return the flag of a field: `output-len` for `output_len`."""
    return flags.flag_name(Config, field)


def from_mapping(fields: Mapping[str, Any]) -> Config:
    """Build a Config from the settings of a file or flags; names have - or _. Raises ConfigError."""
    return flags.from_mapping(Config, fields, "run")
