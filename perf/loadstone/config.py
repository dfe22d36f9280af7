"""What a run is asked to do: every setting with its default, checked for sense, and its form on disk without secrets.

Pure. The command line and TOML files fill it; library users build it themselves. Times are seconds.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from loadstone.records import UsageError

if TYPE_CHECKING:
    from loadstone.plan import Load

DEFAULT_REQUESTS = 100
DEFAULT_CONCURRENCY = 8
HIDDEN = "***"
_SECRET = re.compile(r"auth|key|token|secret|cookie|passw|credential|signature|^sig$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\s*(bearer|basic|digest|token)\s|sk-", re.IGNORECASE)


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run. `check()` raises UsageError when it makes no sense."""

    url: str | None = None
    model: str | None = None
    api: str = "chat"
    transport: Literal["wire", "aiohttp"] = "wire"
    header: dict[str, str] = {}
    api_key_env: str | None = None
    insecure: bool = False
    ca_file: str | None = None
    connect_timeout: float = 30.0
    ttft_timeout: float | None = None
    idle_timeout: float | None = None
    timeout: float | None = 21_600.0

    dataset: str = "chat-small"
    prompt_field: str | None = None
    shuffle: bool = False
    tokenizer: str | None = None
    input_len: int | None = None
    output_len: int | None = None
    range_ratio: float = 0.0

    stream: bool = True
    usage: Literal["final", "each", "off"] = "final"
    ignore_eos: bool = False
    temperature: float | None = None
    extra_body: dict[str, Any] = {}

    concurrency: int | None = None
    rate: float | None = None
    arrivals: str = "poisson"
    requests: int | None = None
    duration: float | None = None
    grace: float = 30.0
    warmup: int = 0
    seed: int = 0

    goodput: dict[str, float] = {}
    max_error_rate: float = 1.0
    save_text: bool = False
    output: str | None = None
    label: str | None = None

    def check(self) -> Config:
        """This configuration with what follows from it filled in. Raises UsageError."""
        from loadstone.arrivals import ARRIVALS  # it needs numpy, for which --help does not wait

        for name, (fits, text) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and fits(value)):
                raise UsageError(f"--{flag(name)} takes {text}, not {value}")
        if self.arrivals not in ARRIVALS:
            raise UsageError(f"--arrivals takes {' or '.join(ARRIVALS)}, not {self.arrivals}")
        for name, limit in self.goodput.items():
            if name not in SLOS or not limit > 0:
                raise UsageError(f"--goodput takes {_SLO_FORM}, not {name}:{limit:g}s")
        return self._filled()

    def _filled(self) -> Config:
        changes: dict[str, Any] = {}
        if self.requests is None and self.duration is None:
            changes["requests"] = DEFAULT_REQUESTS
        if self.concurrency is None and self.rate is None:
            changes["concurrency"] = DEFAULT_CONCURRENCY
        return msgspec.structs.replace(self, **changes)

    @property
    def load(self) -> Load:
        from loadstone.plan import Load

        return Load(**{name: getattr(self, name) for name in Load.__struct_fields__})

    def shown(self) -> dict[str, Any]:
        """As it may be written down: keys, tokens and passwords are hidden."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        fields["header"] = {name: _header(name, value) for name, value in self.header.items()}
        fields["extra_body"] = hide(self.extra_body)
        fields["url"] = None if self.url is None else _hide_in_url(self.url)
        return fields


_Limit = tuple[Callable[[float], bool], str]
_FROM_0: _Limit = (lambda value: value >= 0, "0 or more")
_FROM_1: _Limit = (lambda value: value >= 1, "1 or more")
_POSITIVE: _Limit = (lambda value: value > 0, "a number above 0")
_SHARE: _Limit = (lambda value: 0 <= value <= 1, "0 to 1")
_LIMITS = {
    **dict.fromkeys(("requests", "concurrency", "input_len", "output_len"), _FROM_1),
    **dict.fromkeys(("warmup", "grace", "seed"), _FROM_0),
    **dict.fromkeys(("rate", "duration", "connect_timeout", "ttft_timeout", "idle_timeout", "timeout"), _POSITIVE),
    **dict.fromkeys(("range_ratio", "max_error_rate"), _SHARE),
}


def flag(field: str) -> str:
    """The flag of a field, as typed: `output-len` for `output_len`."""
    return field.replace("_", "-")


def hide(value: Any, secret: bool = False) -> Any:
    """A JSON value with all texts under secret-sounding names hidden; `max_tokens` and the like are numbers."""
    if isinstance(value, dict):
        return {name: hide(item, secret or bool(_SECRET.search(name))) for name, item in value.items()}
    if isinstance(value, list):
        return [hide(item, secret) for item in value]
    return HIDDEN if secret and isinstance(value, str) else value


def _header(name: str, value: str) -> str:
    return HIDDEN if _SECRET.search(name) or _SECRET_VALUE.match(value) else value


def _hide_in_url(url: str) -> str:
    return re.sub(r"(?<=[?&])([^=&]+)=[^&#]*", _hide_parameter, re.sub(r"(?<=//)[^/?#]*@", f"{HIDDEN}@", url))


def _hide_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}={HIDDEN}" if _SECRET.search(match[1]) else match[0]


def from_mapping(fields: Mapping[str, Any], where: str) -> Config:
    """A Config from parsed TOML or flags; names may be written with - or _. Raises UsageError naming `where`."""
    named = {name.replace("-", "_"): value for name, value in fields.items()}
    for name in named:
        if name not in Config.__struct_fields__:
            near = difflib.get_close_matches(name, Config.__struct_fields__, 1)
            hint = f"; did you mean {flag(near[0])}?" if near else ""
            raise UsageError(f"{where} has a setting {flag(name)!r} that `run` does not know{hint}")
    try:
        return msgspec.convert(named, Config)
    except msgspec.ValidationError as exc:
        raise UsageError(f"{where}: {exc}") from exc


_DECIMAL = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_UNITS = {"": 1e-3, "ms": 1e-3, "us": 1e-6, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SLO_NAMES = {"e2el": "latency"}
SLOS = ("ttft", "ttft_scheduled", "ttfat", "latency", "latency_scheduled", "tpot", "packet_time")
_SLO_FORM = f"METRIC:TIME such as ttft:200ms or latency:5s ({', '.join(SLOS)})"


def slo(text: str) -> tuple[str, float]:
    """One service-level objective: `ttft:200ms`, `latency:5s`; a bare number is ms, `e2el` is latency, as in vLLM."""
    name, _, limit = text.partition(":")
    name = _SLO_NAMES.get(name, name)
    match = re.fullmatch(rf"({_DECIMAL})(us|ms|s|)", limit)
    if name not in SLOS or not match or not float(match[1]):
        raise UsageError(f"--goodput takes {_SLO_FORM}, not {text!r}")
    return name, float(match[1]) * _UNITS[match[2]]


def seconds(text: str) -> float:
    """`30`, `30s`, `500ms`, `2m`, `1h`; a bare number is seconds. Raises ValueError."""
    match = re.fullmatch(rf"({_DECIMAL})(us|ms|s|m|min|h|)", text)
    if not match:
        raise ValueError(text)
    return float(match[1]) * (_UNITS[match[2]] if match[2] else 1.0)
