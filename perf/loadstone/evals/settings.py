"""The settings of an evaluation: its own, and those of the load that its requests are.

They come from the command line, a TOML or YAML file, or a mapping; `from_mapping` separates the two kinds. The only
file that is read here is one with doc_ids.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from loadstone.config import files, redact, schema
from loadstone.config.providers import resolve
from loadstone.config.schema import Config, flag
from loadstone.errors import ConfigError
from loadstone.tasks.spec import MODES, Mode

Stage = Literal["all", "infer", "score"]
# Default number of retries: an answer that failed would have to be requested again anyway.
RETRIES = 3


class Eval(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One evaluation of one model.

    tasks: names of tasks, groups or benchmarks, `qa:FILE`, `mcq:FILE`, `lm-eval:NAME`, `FILE.py:NAME`
    load: settings of the run that sends its requests
    api: API of all requests; None for the one that each task needs
    data: folder with the data, or `bundled` for the small sets that come with Loadstone; None for the hub's cache
    limit: number of items of each task or, below 1, their fraction
    samples: doc_ids, by task
    num_fewshot, mode, repeat, system: override those of the tasks; None for the task's own
    gen: fields of the requests, which override those of the tasks
    multiturn: worked examples as turns of a chat instead of in one message
    predict_only: save the answers and score nothing
    stage: send requests, score, or both
    dry_run: only estimate what would be sent
    allow_code: programs that the model writes may be run
    include_path: folder with tasks in lm-eval's form
    cache: folder with answers of earlier evaluations
    price_in, price_out: of a million tokens
    target: official scores by group, for the leaderboard row
    """

    tasks: list[str]
    load: Config = Config()
    api: str | None = None
    data: str | None = None
    limit: float | None = None
    samples: dict[str, list[int]] = {}
    num_fewshot: int | None = None
    multiturn: bool = False
    mode: Mode | Literal["auto"] = "auto"
    repeat: int | None = None
    gen: dict[str, Any] = {}
    system: str | None = None
    predict_only: bool = False
    stage: Stage = "all"
    dry_run: bool = False
    allow_code: bool = False
    include_path: str | None = None
    cache: str | None = None
    price_in: float | None = None
    price_out: float | None = None
    target: dict[str, float] = {}

    def check(self) -> Eval:
        """Validate the settings. Return them with everything that shapes answers in `gen`.

        Raises UsageError.
        """
        for name, (is_valid, expected) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not is_valid(value):
                raise ConfigError(f"--{name.replace('_', '-')} takes {expected}, not {value}")
        for clashes, sentence in _CLASHES:
            if clashes(self):
                raise ConfigError(sentence)
        for name in self.gen.keys() & _NOT_IN_GEN.keys():
            raise ConfigError(f"--gen {name}: {_NOT_IN_GEN[name]}")
        for name, ids in self.samples.items():
            if not ids:
                raise ConfigError(f"--samples asks no item of {name}: give it doc_ids, or leave it out of --tasks")
        self._check_load()

        # Settings of the load that shape answers become fields of the requests.
        load = self.load if self.api is None else msgspec.structs.replace(self.load, api=self.api)
        load = resolve(load, given=() if self.api is None else ("api",))
        shaping = {name: value for name in _SHAPING if (value := getattr(load, name)) is not None}
        gen = openai_names({**{_SHAPING[name]: value for name, value in shaping.items()}, **self.gen})
        for name, (is_valid, expected) in _GEN_LIMITS.items():
            value = gen.get(name)
            if value is not None and not (type(value) in (int, float) and is_valid(value)):
                flags = _GEN_FLAGS.get(name, f"--gen {name}")
                raise ConfigError(f"{flags} takes {expected}, not {str(value)[:40]}")
        api = self.api or (load.api if load.api != Config().api else None)
        load = msgspec.structs.replace(load, **dict.fromkeys(shaping)).check()
        return msgspec.structs.replace(self, load=load, gen=gen, api=api)

    def _check_load(self) -> None:
        """Check that the settings of the load make sense for an evaluation."""
        default = Config()
        for name, reason in REFUSED.items():
            if getattr(self.load, name) != getattr(default, name):
                raise ConfigError(f"--{flag(name)} is not for an evaluation: {reason}")
        if len(self.load.models) > 1:
            raise ConfigError("--model takes one model each time: give --model once for each, not a mix")
        if self.load.output_len is not None and not isinstance(self.load.output_len, int):
            raise ConfigError(f"--output-len takes a number of tokens here, not {self.load.output_len}")

    def shown(self) -> dict[str, Any]:
        """Return the settings as they may be written to a file: without keys."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {**fields, "gen": redact.hide(self.gen), "load": self.load.redacted()}


def openai_names(gen: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a request with OpenAI's names instead of those of lm-eval's tasks."""
    named = {_GEN_NAMES.get(name, name): value for name, value in gen.items() if name != "do_sample"}
    if isinstance(named.get("stop"), str):
        named["stop"] = [named["stop"]]
    return named


def differing_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the flags in which two evaluations differ so that their answers do not belong together.

    More items or more passes are no such difference. An evaluation that only scores need not name the server.
    before, now: settings as `Eval.shown` returns them
    """
    pairs = [(name, before.get(name), now.get(name)) for name in _SAME]
    load_names = [] if now.get("stage") == "score" else _SAME_LOAD
    pairs += [(name, before.get("load", {}).get(name), now["load"].get(name)) for name in load_names]
    return [_flag(name) for name, old, new in pairs if old != new]


def _flag(name: str) -> str:
    return NAMES.get(name, name).replace("_", "-")


def from_mapping(fields: Mapping[str, Any], where: str) -> list[Eval]:
    """Return an evaluation for each model.

    fields: settings, with names written with - or _. Those of the load are beside the others, or in a table `load`
    where: source of the settings, for error messages

    Raises UsageError.
    """
    inner = fields.get("load", {})
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{where}: `load` is a table of the settings of `loadstone run`")
    named: dict[str, Any] = {}
    for table in (inner, fields):
        for name, value in table.items():
            key = name.replace("-", "_")
            named[_FIELDS.get(key, key)] = value
    named.pop("load", None)
    if "tasks" not in named:
        raise ConfigError(f"{where} names no tasks: give --tasks gsm8k,mmlu (loadstone list tasks)")
    own = {name: value for name, value in named.items() if name in _OWN}
    rest = {name: value for name, value in named.items() if name not in _OWN}
    if isinstance(own["tasks"], str):
        # Names separated by commas. A file with a comma in its name can be given in a list.
        own["tasks"] = [name.strip() for name in own["tasks"].split(",") if name.strip()]
    if "samples" in own:
        own["samples"] = parse_samples(own["samples"])
    _check_known(rest, where)
    if "retries" in Config.__struct_fields__:
        rest.setdefault("retries", RETRIES)

    # One evaluation for each model.
    models = rest.pop("model", None)
    models = models if isinstance(models, list) else [models]
    if len(set(models)) < len(models) or not models:
        raise ConfigError(f"{where}: each --model is given once")
    loads = [schema.from_mapping({**rest, **({"model": model} if model else {})}, where) for model in models]
    try:
        evaluation = msgspec.convert(own, Eval)
    except msgspec.ValidationError as exc:
        match = re.search(r"\$\.(\w+)", str(exc))
        if match is None or match[1] not in _EXPECTED:
            raise ConfigError(f"{where}: {exc}") from exc
        name = match[1]
        raise ConfigError(f"{where}: --{_flag(name)} takes {_EXPECTED[name]}, not {str(own.get(name))[:60]}") from exc
    return [msgspec.structs.replace(evaluation, load=load) for load in loads]


def _check_known(rest: Mapping[str, Any], where: str) -> None:
    """Check that the remaining settings are those of a load."""
    known = {flag(name).replace("-", "_") for name in Config.__struct_fields__} | set(Config.__struct_fields__)
    for name in rest:
        if name not in known:
            from loadstone.config.foreign_flags import suggest

            flags = [_flag(own) for own in _OWN] + [each.replace("_", "-") for each in known]
            hint = suggest("eval", name.replace("_", "-"), flags)
            raise ConfigError(
                f"{where} has a setting {name.replace('_', '-')!r} that `eval` does not know{hint and f'; {hint}'}",
                field=name,
            )


def parse_samples(value: Any) -> Any:
    """Parse doc_ids by task from JSON or from a file with it, as lm-eval's --samples. Raises UsageError."""
    if not isinstance(value, str):
        return value
    text = value
    if not value.lstrip().startswith("{"):
        path = Path(value).expanduser()
        if value.endswith(".json"):
            return files.read(path, "--samples")
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"--samples takes '{{\"gsm8k\": [0, 7]}}' or a file with that, not {value!r}") from exc
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ConfigError(f"--samples {value[:60]} is not JSON: {exc}") from exc


# Whether a value is valid, and what is expected.
_Check = tuple[Callable[[Any], bool], str]
# Fields whose flag has another name.
NAMES = {"data": "data_dir", "allow_code": "allow_code_execution"}
_FIELDS = {name: field for field, name in NAMES.items()}
# Settings that are no settings of the load.
_OWN = tuple(name for name in Eval.__struct_fields__ if name != "load")
# OpenAI's names for fields of lm-eval's tasks.
_GEN_NAMES = {"max_gen_toks": "max_tokens", "max_new_tokens": "max_tokens", "until": "stop"}
# Limits of fields of the requests: a server would refuse all of them otherwise.
_GEN_LIMITS: dict[str, _Check] = {
    **dict.fromkeys(
        ("max_tokens", "max_completion_tokens"), (lambda n: 1 <= n < math.inf and n == int(n), "a number of tokens")
    ),
    "temperature": (lambda t: 0 <= t < math.inf, "0 or more"),
}
# Fields of the requests that have flags of their own.
_GEN_FLAGS = {"max_tokens": "--output-len (max_tokens)", "temperature": "--temperature"}
# Fields of the requests that cannot be set, and what to do instead.
_NOT_IN_GEN = {
    **dict.fromkeys(("messages", "prompt", "echo", "logprobs", "prompt_logprobs"), "that is what the tasks ask"),
    **dict.fromkeys(("n", "best_of"), "give --repeat for several answers"),
    "model": "give --model",
    **dict.fromkeys(("stream", "stream_options"), "give --no-stream"),
}
# Settings of the load that become fields of each generation's request.
_SHAPING = {
    **{name: name for name in ("temperature", "top_p", "top_k", "min_p", "min_tokens", "stop")},
    **{name: name for name in ("presence_penalty", "frequency_penalty", "repetition_penalty")},
    "output_len": "max_tokens",
    "sampling_seed": "seed",
}
_ITEMS = "its requests are the items of --tasks: give --limit or --samples"
_AS_GIVEN = "what is asked is the tasks'"
_WHOLE = "it ends when all items have been asked"
# Settings of the load that make no sense here, and why.
REFUSED: dict[str, str] = {
    **dict.fromkeys(("dataset", "prompt_field", "skip", "requests", "shuffle"), _ITEMS),
    **dict.fromkeys(("input_len", "range_ratio", "prefix_len", "prefix_count", "system_len", "turns"), _AS_GIVEN),
    **dict.fromkeys(("think_time", "history", "scale_lengths", "min_input_len", "max_input_len"), _AS_GIVEN),
    **dict.fromkeys(("max_total_len", "tokenize_prompt", "apply_chat_template", "ignore_eos"), _AS_GIVEN),
    **dict.fromkeys(("match_output_length", "cancel_share", "cancel_after", "logprobs"), _AS_GIVEN),
    **dict.fromkeys(("duration", "stages", "warmup", "cooldown", "speed", "trace_from", "trace_to"), _WHOLE),
    "stop_saturated": _WHOLE,
    "choices": "give --repeat for several answers",
    "save_text": "answers are always kept",
}
# Settings that must be equal if an evaluation is continued: its own, and those of the load.
_SAME = ("tasks", "api", "data", "num_fewshot", "multiturn", "mode", "gen", "system")
_SAME_LOAD = ("url", "model", "provider", "extra_body", "chat_template_kwargs", "body_template", "text_path")
_PRICE: _Check = (lambda value: math.isfinite(value) and value >= 0, "a price of a million tokens, 0 or more")
# What is expected instead of a value of the wrong type.
_EXPECTED = {
    "tasks": "names of tasks, such as gsm8k,mmlu",
    "samples": 'doc_ids by task, such as {"gsm8k": [0, 7]}',
    "gen": "fields of the requests, such as temperature=0.6,top_p=0.95",
    "target": "official scores, such as mmlu=68.9",
    **dict.fromkeys(("limit", "price_in", "price_out"), "a number"),
    **dict.fromkeys(("num_fewshot", "repeat"), "a whole number"),
    **dict.fromkeys(("multiturn", "predict_only", "dry_run", "allow_code"), "true or false"),
}
_LIMITS: dict[str, _Check] = {
    "tasks": (bool, "names of tasks, such as gsm8k,mmlu"),
    "limit": (lambda value: value > 0 and (value < 1 or value == int(value)), "a number of items, or a share below 1"),
    "num_fewshot": (lambda value: value >= 0, "0 or more"),
    "repeat": (lambda value: value >= 1, "1 or more"),
    "mode": (lambda value: value in ("auto", *MODES), f"auto, {', '.join(MODES)}"),
    "stage": (lambda value: value in ("all", "infer", "score"), "infer, score or all"),
    "price_in": _PRICE,
    "price_out": _PRICE,
}
# Combinations that make no sense, and the errors for them.
_CLASHES: tuple[tuple[Callable[[Eval], bool], str], ...] = (
    (lambda e: bool(e.samples) and e.limit is not None, "--limit and --samples exclude each other: give one of them"),
    (lambda e: not {"n", "best_of"}.isdisjoint(e.load.extra_body), "--extra-body n: give --repeat for several answers"),
    (lambda e: e.predict_only and e.stage == "score", "--predict-only scores nothing: leave out --stage score"),
    (lambda e: e.dry_run and e.stage == "score", "--dry-run shows what would be asked: leave out --stage score"),
    (lambda e: e.stage == "score" and not e.load.output, "--stage score needs the evaluation: give its folder with -o"),
    (
        lambda e: bool(e.cache) and e.load.own_model,
        "--cache knows answers by the server's address: leave it out with a model of"
        " your own, which may change in its file",
    ),
    (lambda e: e.load.arrivals == "replay", "--arrivals replay is for traces: give --rate or -c"),
)
