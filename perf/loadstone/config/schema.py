"""The configuration of a run: every setting with its default, its checks, and its form on disk without secrets.

Pure. The command line and files fill it; library users build it themselves. Times are seconds.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from loadstone.config.parse import ARRIVALS, REPLAY, parse_count_or_time, parse_models, parse_seconds
from loadstone.config.redact import hide, hide_header, hide_in_template, hide_in_url
from loadstone.errors import ConfigError

# Defaults of a run that sets neither its load nor its length.
DEFAULT_REQUESTS = 100
DEFAULT_CONCURRENCY = 8
# Name of the model that answers without computing.
DUMMY = "dummy"
# Fields whose flag has another name.
FLAGS = {"trace_from": "from", "trace_to": "to", "choices": "n-choices"}


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one run. Call `check()` before use."""

    url: str | list[str] | None = None
    balance: Literal["round-robin", "sticky"] = "round-robin"
    model: str | None = None
    batch_size: int = 1
    provider: str | None = None
    api: str = "chat"
    transport: Literal["wire", "aiohttp"] = "wire"
    clock: Literal["auto", "kernel", "user"] = "auto"
    header: dict[str, str] = {}
    request_id: str | None = None
    api_key_env: str | None = None
    insecure: bool = False
    ca_file: str | None = None
    connect_timeout: float = 30.0
    ttft_timeout: float | None = None
    idle_timeout: float | None = None
    timeout: float | None = 21_600.0
    retries: int = 0
    retry_longest: float = 60.0

    dataset: str = "chat-small"
    prompt_field: str | None = None
    shuffle: bool = False
    skip: int = 0
    tokenizer: str | None = None
    input_len: int | str | None = None
    output_len: int | str | None = None
    range_ratio: float = 0.0
    prefix_len: int | str | None = None
    prefix_count: int | None = None
    system_len: int | str | None = None
    turns: int | str | None = None
    think_time: float | str | None = None
    history: Literal["first", "recorded", "live"] | None = None
    scale_lengths: float = 1.0
    min_input_len: int | None = None
    max_input_len: int | None = None
    max_total_len: int | None = None

    stream: bool = True
    usage: Literal["final", "each", "off"] = "final"
    ignore_eos: bool = False
    match_output_length: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    min_tokens: int | None = None
    stop: list[str] | None = None
    sampling_seed: int | None = None
    logprobs: int | None = None
    choices: int | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    extra_body: dict[str, Any] = {}
    tokenize_prompt: bool = False
    apply_chat_template: bool = False
    body_template: str | None = None
    text_path: str | None = None
    usage_path: str | None = None
    cancel_share: float = 0.0
    cancel_after: float | None = None

    workers: int | Literal["auto"] = "auto"
    concurrency: int | None = None
    rate: float | None = None
    arrivals: str | None = None
    burstiness: float | None = None
    rescale: bool = True
    stages: str | None = None
    speed: float | None = None
    trace_from: float | None = None
    trace_to: float | None = None
    requests: int | None = None
    duration: float | None = None
    grace: float = 30.0
    warmup: int | str = 0
    cooldown: int | str = 0
    seed: int = 0
    rpm: float | None = None
    tpm: float | None = None
    stop_error_rate: float | None = None
    stop_saturated: bool = False

    goodput: dict[str, float] = {}
    max_error_rate: float = 1.0
    scrape: bool | str | list[str] = True
    scrape_every: float = 1.0
    scrape_all: bool = False
    scrape_name: str | None = None
    save_text: bool = False
    save_bodies: bool = False
    html: bool = True
    output: str | None = None
    label: str | None = None

    def check(self) -> Config:
        """Check the settings and return the configuration. Raises UsageError."""
        # Each value has to be within its limits.
        for name, (fits, text) in _LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, int | float) and not (math.isfinite(value) and fits(value)):
                raise ConfigError(f"--{flag(name)} takes {text}, not {value}")
        if self.goodput:
            from loadstone.config.slo import check_goodput  # loaded only for runs that have objectives

            check_goodput(self.goodput)

        # The settings of the arrivals have to fit together.
        if self.arrivals not in (None, REPLAY, *ARRIVALS):
            raise ConfigError(f"--arrivals takes {', '.join(ARRIVALS)} or {REPLAY}, not {self.arrivals}")
        if self.burstiness is not None and self.arrivals not in (None, "gamma"):
            raise ConfigError(f"--burstiness shapes --arrivals gamma, not {self.arrivals}")
        steady = next((name for name in ("rate", "stages") if _given(self, name)), None)
        process = next((name for name in ("arrivals", "burstiness") if _given(self, name)), None)
        if self.arrivals != REPLAY and process and not steady:
            raise ConfigError(f"--{process} says how requests arrive at a rate: give --rate or --stages with it")
        if self.arrivals == REPLAY and steady:
            raise ConfigError(f"--arrivals replay takes the recorded times, so leave out --{steady}")

        try:
            re.compile(self.scrape_name or "")
        except re.error as exc:
            raise ConfigError(f"--scrape-name takes a regular expression, not {self.scrape_name!r}: {exc}") from exc
        if self.request_id is not None and any(name.lower() == "x-request-id" for name in self.header):
            raise ConfigError("--request-id and a --header X-Request-Id say the same thing twice: give one of them")

        # Some settings exclude each other, some need one of others.
        for given, clashing, text in _CLASHES:
            if _given(self, given) and _given(self, clashing):
                raise ConfigError(f"--{flag(given)} and --{flag(clashing)} exclude each other: {text}")
        for given, needed, text in _NEEDS:
            if _given(self, given) and not any(_given(self, name) for name in needed):
                raise ConfigError(f"--{flag(given)} needs {' or '.join(f'--{flag(name)}' for name in needed)}: {text}")

        # Parse the texts that the schedule parses again, so that a mistake is found before anything is done.
        parse_count_or_time("warmup", self.warmup)
        parse_count_or_time("cooldown", self.cooldown)
        if self.stages:
            from loadstone.config.stages import parse_stages  # it needs numpy, for which --help does not wait

            parse_stages(self.stages)
        self.models  # noqa: B018  parsed on access
        return self

    def with_defaults(self, timed: bool) -> Config:
        """Return the configuration with the defaults that depend on the dataset.

        timed: True if it has recorded times; it is replayed then, unless another load is set. Raises UsageError.
        """
        changes: dict[str, Any] = {}
        named = self.rate is not None or self.stages is not None
        if timed and self.arrivals is None and not named and self.concurrency is None:
            changes["arrivals"] = REPLAY
        replay = REPLAY in (self.arrivals, changes.get("arrivals"))
        if not replay and not self.stages and self.requests is None and self.duration is None:
            changes["requests"] = DEFAULT_REQUESTS
        if not replay and not named and self.concurrency is None:
            changes["concurrency"] = DEFAULT_CONCURRENCY
        if not timed and (self.trace_from is not None or self.trace_to is not None):
            raise ConfigError("--from and --to take a stretch of recorded times, and this dataset has none")
        if self.speed is not None and not replay:
            raise ConfigError("--speed is for recorded times: give a trace, and neither --rate, --stages nor -c alone")
        if not replay and self.arrivals is None:
            changes["arrivals"] = "poisson" if self.burstiness is None else "gamma"
        return msgspec.structs.replace(self, **changes)

    @property
    def urls(self) -> list[str]:
        """Return the addresses of the servers."""
        return [self.url] if isinstance(self.url, str) else list(self.url or [])

    @property
    def own_model(self) -> bool:
        """Return True if the model is a user's own class (FILE.py:CLASS) or the dummy, so that no server is needed."""
        name = self.model or ""
        return self.url is None and (".py:" in name or name.partition(":")[0] == DUMMY)

    @property
    def scrape_urls(self) -> list[str]:
        """Return the addresses of metrics that are set; none where they are to be discovered."""
        return [self.scrape] if isinstance(self.scrape, str) else self.scrape if isinstance(self.scrape, list) else []

    @property
    def models(self) -> list[tuple[str | None, float]]:
        """Return the models with their weights; None is the first that the server lists."""
        return [(self.model, 1.0)] if self.own_model else parse_models(self.model) if self.model else [(None, 1.0)]

    def redacted(self) -> dict[str, Any]:
        """Return the settings for files and reports: keys, tokens and passwords are hidden."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        fields["header"] = {name: hide_header(name, value) for name, value in self.header.items()}
        fields["extra_body"] = hide(self.extra_body)
        fields["chat_template_kwargs"] = hide(self.chat_template_kwargs)
        fields["body_template"] = hide_in_template(self.body_template)
        shown = [hide_in_url(url) for url in self.urls]
        fields["scrape"] = [hide_in_url(url) for url in self.scrape_urls] or self.scrape
        fields["url"] = shown if isinstance(self.url, list) else next(iter(shown), None)
        return fields


# Limits of a setting: a test, and its text.
_Limit = tuple[Callable[[float], bool], str]
_FROM_0: _Limit = (lambda value: value >= 0, "0 or more")
_FROM_1: _Limit = (lambda value: value >= 1, "1 or more")
_POSITIVE: _Limit = (lambda value: value > 0, "a number above 0")
_FRACTION: _Limit = (lambda value: 0 <= value <= 1, "0 to 1")
_LIMITS: dict[str, _Limit] = {
    "burstiness": (lambda value: value >= 0.01, "0.01 or more (gaps would be 0 or hours)"),
    **dict.fromkeys(("requests", "concurrency", "workers", "prefix_count", "choices", "batch_size"), _FROM_1),
    **dict.fromkeys(("min_input_len", "max_input_len", "max_total_len"), _FROM_1),
    **dict.fromkeys(("input_len", "output_len", "turns"), _FROM_1),
    **dict.fromkeys(("prefix_len", "system_len", "think_time", "min_tokens", "logprobs"), _FROM_0),
    **dict.fromkeys(("warmup", "cooldown", "grace", "seed", "skip", "trace_from", "retries"), _FROM_0),
    **dict.fromkeys(("rate", "duration", "speed", "scale_lengths", "trace_to", "cancel_after"), _POSITIVE),
    **dict.fromkeys(("rpm", "tpm", "retry_longest"), _POSITIVE),
    **dict.fromkeys(("connect_timeout", "ttft_timeout", "idle_timeout", "timeout", "scrape_every"), _POSITIVE),
    **dict.fromkeys(("range_ratio", "max_error_rate", "stop_error_rate", "cancel_share"), _FRACTION),
}
# Settings that may be written with a unit.
_TIMES = (
    *("connect_timeout", "ttft_timeout", "idle_timeout", "timeout", "duration", "grace"),
    *("trace_from", "trace_to", "cancel_after", "scrape_every", "retry_longest"),
)
# Settings that exclude each other, and why.
_CLASHES = (
    ("rate", "stages", "stages have rates of their own"),
    ("duration", "stages", "stages have times of their own"),
    ("requests", "stages", "stages end by time"),
    ("tokenize_prompt", "apply_chat_template", "give the template's text as it is, or token ids"),
)
# Settings that need one of others, and why.
_NEEDS = (
    ("tokenize_prompt", ("tokenizer",), "with it the prompts become token ids"),
    ("apply_chat_template", ("tokenizer",), "the chat template is the tokenizer's"),
    ("cancel_share", ("cancel_after",), "say after how long a request is cancelled, such as 500ms"),
    ("cancel_after", ("cancel_share",), "say how many requests are cancelled, such as 0.1"),
    ("text_path", ("body_template",), "both are for --api template"),
    ("usage_path", ("body_template",), "both are for --api template"),
)


def _given(config: Config, name: str) -> bool:
    """Return True if a setting differs from its default."""
    return bool(getattr(config, name) != getattr(Config(), name))


def flag(field: str) -> str:
    """Return the flag of a field: `output-len` for `output_len`."""
    return FLAGS.get(field, field).replace("_", "-")


def from_mapping(fields: Mapping[str, Any], where: str) -> Config:
    """Build a Config from the settings of a file or flags; names have - or _. Raises UsageError that names `where`."""
    fields_of = {name.replace("-", "_"): field for field, name in FLAGS.items()}
    plain = {name.replace("-", "_"): value for name, value in fields.items()}
    named = {fields_of.get(name, name): value for name, value in plain.items()}
    for name in named:
        if name not in Config.__struct_fields__:
            near = difflib.get_close_matches(name, Config.__struct_fields__, 1)
            hint = f"; did you mean {flag(near[0])}?" if near else ""
            raise ConfigError(f"{where} has a setting {flag(name)!r} that `run` does not know{hint}")
        value = named[name]
        # Bytes that were not UTF-8 arrive as lone surrogates (PEP 383).
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ConfigError(f"{where}: --{flag(name)} is not UTF-8: type it anew")
    if isinstance(named.get("goodput"), str | list | dict):
        from loadstone.config.slo import parse_goodput  # loaded only for runs that have objectives

        named["goodput"] = parse_goodput(named["goodput"])
    try:
        timed = {name: parse_seconds(named[name]) for name in _TIMES if isinstance(named.get(name), str)}
    except ValueError as exc:
        raise ConfigError(f"{where}: a time is 30, 30s, 500ms or 2m, not {exc}") from exc
    try:
        return msgspec.convert({**named, **timed}, Config)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{where}: {exc}") from exc
