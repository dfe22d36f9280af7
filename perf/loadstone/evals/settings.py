"""What an evaluation is asked to do: its own settings, and those of the load that its requests are.

The command line, a TOML or YAML file or a mapping fills it; `from_mapping` sorts out which setting is whose. Asks
nobody; a file with doc_ids is the only one that is read.
"""

from __future__ import annotations

import difflib
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
from loadstone.errors import UsageError
from loadstone.tasks.spec import MODES, Mode

Stage = Literal["all", "infer", "score"]
# Where nothing is said: an answer that did not come would have to be asked again anyway.
RETRIES = 3


class Eval(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One evaluation of one model; `load` is the run that its questions make. `check()` raises UsageError.

    tasks: names of tasks, groups or benchmarks, `qa:FILE`, `mcq:FILE`, `lm-eval:NAME`, `FILE.py:NAME`.
    api: the one that all is asked over; None: the one that a task needs.
    data: the folder with the data, or `bundled` for the small sets that come with Loadstone; None: the cache of Hugging
    Face's `datasets`.
    limit: so many items of each task, or below 1 that share; samples: doc_ids, by task.
    num_fewshot, mode, gen, repeat, system: over those of the tasks; None: the task's own. `gen`: fields of the request.
    multiturn: examples as turns of a chat rather than in one message.
    include_path: folder with tasks of one's own in lm-eval's form.
    cache: folder of answers that need not be asked again.
    price_in, price_out: of a million tokens.
    target: official scores by group, for the leaderboard row.
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
        """This evaluation, if it makes sense, with all that shapes answers in `gen`. Raises UsageError."""
        for name, (fits, text) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not fits(value):
                raise UsageError(f"--{name.replace('_', '-')} takes {text}, not {value}")
        for wrong, sentence in _CLASHES:
            if wrong(self):
                raise UsageError(sentence)
        for name in self.gen.keys() & _OURS.keys():
            raise UsageError(f"--gen {name}: {_OURS[name]}")
        for name, ids in self.samples.items():
            if not ids:
                raise UsageError(f"--samples asks no item of {name}: give it doc_ids, or leave it out of --tasks")
        self._check_load()
        asked = self.load if self.api is None else msgspec.structs.replace(self.load, api=self.api)
        load = resolve(asked, given=() if self.api is None else ("api",))
        shaping = {name: value for name in _SHAPING if (value := getattr(load, name)) is not None}
        gen = _fit_gen({**{_SHAPING[name]: value for name, value in shaping.items()}, **self.gen})
        api = self.api or (load.api if load.api != Config().api else None)
        load = msgspec.structs.replace(load, **dict.fromkeys(shaping)).check()
        return msgspec.structs.replace(self, load=load, gen=gen, api=api)

    def _check_load(self) -> None:
        usual = Config()
        for name, why in REFUSED.items():
            if getattr(self.load, name) != getattr(usual, name):
                raise UsageError(f"--{flag(name)} is not for an evaluation: {why}")
        if len(self.load.models) > 1:
            raise UsageError("--model takes one model each time: give --model once for each, not a mix")
        if self.load.output_len is not None and not isinstance(self.load.output_len, int):
            raise UsageError(f"--output-len takes a number of tokens here, not {self.load.output_len}")

    def shown(self) -> dict[str, Any]:
        """As it may be written down: without keys."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {**fields, "gen": redact.hide(self.gen), "load": self.load.redacted()}


def _fit_gen(gen: Mapping[str, Any]) -> dict[str, Any]:
    """As `plain_gen`; what no server would take is refused before all requests fail for it."""
    named = openai_names(gen)
    for name, (fits, text) in _NUMBERS.items():
        value = named.get(name)
        if value is not None and not (type(value) in (int, float) and fits(value)):
            raise UsageError(f"{_SAID.get(name, f'--gen {name}')} takes {text}, not {str(value)[:40]}")
    return named


def openai_names(gen: Mapping[str, Any]) -> dict[str, Any]:
    """With OpenAI's names for what lm-eval's tasks call otherwise."""
    named = {_GEN.get(name, name): value for name, value in gen.items() if name != "do_sample"}
    if isinstance(named.get("stop"), str):
        named["stop"] = [named["stop"]]
    return named


def differing_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings, by their flags, in which two evaluations (as `shown`) differ so that their answers do not go together.
    More items, or more passes, do. To score, nobody needs to say who was asked."""
    pairs = [(name, before.get(name), now.get(name)) for name in _SAME]
    asked = [] if now.get("stage") == "score" else _SAME_LOAD
    pairs += [(name, before.get("load", {}).get(name), now["load"].get(name)) for name in asked]
    return [NAMES.get(name, name).replace("_", "-") for name, old, new in pairs if old != new]


def from_mapping(fields: Mapping[str, Any], where: str) -> list[Eval]:
    """An evaluation for each model. Names may be written with - or _; those of the load stand beside ours, or in a
    table `load`. Raises UsageError naming `where`."""
    inner = fields.get("load", {})
    if not isinstance(inner, Mapping):
        raise UsageError(f"{where}: `load` is a table of the settings of `loadstone run`")
    given = {name.replace("-", "_"): value for part in (inner, fields) for name, value in part.items()}
    given.pop("load", None)
    named = {_FIELDS.get(name, name): value for name, value in given.items()}
    if "tasks" not in named:
        raise UsageError(f"{where} names no tasks: give --tasks gsm8k,mmlu (loadstone list tasks)")
    own = {name: _READ.get(name, _same)(value) for name, value in named.items() if name in _OWN}
    rest = {name: value for name, value in named.items() if name not in _OWN}
    _known(rest, where)
    if "retries" in Config.__struct_fields__:
        rest.setdefault("retries", RETRIES)
    models = rest.pop("model", None)
    each = models if isinstance(models, list) else [models]
    if len(set(each)) < len(each) or not each:
        raise UsageError(f"{where}: each --model is given once")
    loads = [schema.from_mapping({**rest, **({"model": model} if model else {})}, where) for model in each]
    try:
        made = msgspec.convert(own, Eval)
    except msgspec.ValidationError as exc:
        raise UsageError(_misfit(str(exc), own, where)) from exc
    return [msgspec.structs.replace(made, load=load) for load in loads]


def _misfit(told: str, own: Mapping[str, Any], where: str) -> str:
    """What a setting takes, where a value of the wrong kind was given for it."""
    found = re.search(r"\$\.(\w+)", told)
    if found is None or found[1] not in _TAKES:
        return f"{where}: {told}"
    return f"{where}: --{_flag(found[1])} takes {_TAKES[found[1]]}, not {str(own.get(found[1]))[:60]}"


def _flag(name: str) -> str:
    return NAMES.get(name, name).replace("_", "-")


def _known(rest: Mapping[str, Any], where: str) -> None:
    known = {flag(name).replace("-", "_") for name in Config.__struct_fields__} | set(Config.__struct_fields__)
    for name in rest:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *(NAMES.get(own, own) for own in _OWN)], 1)
            hint = f"; did you mean {near[0].replace('_', '-')}?" if near else ""
            raise UsageError(f"{where} has a setting {name.replace('_', '-')!r} that `eval` does not know{hint}")


def _names(value: Any) -> Any:
    """Names in a list, or in a text with commas; a comma in a file's name is typed as a list."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def parse_samples(value: Any) -> Any:
    """doc_ids by task, from JSON or the name of a file with it (lm-eval's --samples)."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("{"):
        return files.read(Path(value).expanduser(), "--samples") if value.endswith(".json") else _loaded(value)
    return _parsed(value, value)


def _loaded(path: str) -> Any:
    try:
        return _parsed(Path(path).expanduser().read_text("utf-8"), path)
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"--samples takes '{{\"gsm8k\": [0, 7]}}' or a file with that, not {path!r}") from exc


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise UsageError(f"--samples {where[:60]} is not JSON: {exc}") from exc


def _same(value: Any) -> Any:
    return value


_Fits = tuple[Callable[[Any], bool], str]
_READ: dict[str, Callable[[Any], Any]] = {"tasks": _names, "samples": parse_samples}
# Fields whose flag has another name.
NAMES = {"data": "data_dir", "allow_code": "allow_code_execution"}
_FIELDS = {name: field for field, name in NAMES.items()}
_OWN = tuple(name for name in Eval.__struct_fields__ if name != "load")
_GEN = {"max_gen_toks": "max_tokens", "max_new_tokens": "max_tokens", "until": "stop"}
_NUMBERS: dict[str, _Fits] = {
    **dict.fromkeys(
        ("max_tokens", "max_completion_tokens"), (lambda n: 1 <= n < math.inf and n == int(n), "a number of tokens")
    ),
    "temperature": (lambda t: 0 <= t < math.inf, "0 or more"),
}
_SAID = {"max_tokens": "--output-len (max_tokens)", "temperature": "--temperature"}
_OURS = {
    **dict.fromkeys(("messages", "prompt", "echo", "logprobs", "prompt_logprobs"), "that is what the tasks ask"),
    **dict.fromkeys(("n", "best_of"), "give --repeat for several answers"),
    "model": "give --model",
    **dict.fromkeys(("stream", "stream_options"), "give --no-stream"),
}
# Flags of `run` that go into the body of each request of a generation, and of no other.
_SHAPING = {
    **{name: name for name in ("temperature", "top_p", "top_k", "min_p", "min_tokens", "stop")},
    **{name: name for name in ("presence_penalty", "frequency_penalty", "repetition_penalty")},
    "output_len": "max_tokens",
    "sampling_seed": "seed",
}
_ITEMS = "its requests are the items of --tasks: give --limit or --samples"
_AS_GIVEN = "what is asked is the tasks'"
_WHOLE = "it ends when all items have been asked"
# Settings of `run` that make no sense here, and why.
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
_SAME = ("tasks", "api", "data", "num_fewshot", "multiturn", "mode", "gen", "system")
_SAME_LOAD = ("url", "model", "provider", "extra_body", "chat_template_kwargs", "body_template", "text_path")
_PRICE: _Fits = (lambda value: math.isfinite(value) and value >= 0, "a price of a million tokens, 0 or more")
# What is said of a value of the wrong kind.
_TAKES = {
    "tasks": "names of tasks, such as gsm8k,mmlu",
    "samples": 'doc_ids by task, such as {"gsm8k": [0, 7]}',
    "gen": "fields of the requests, such as temperature=0.6,top_p=0.95",
    "target": "official scores, such as mmlu=68.9",
    **dict.fromkeys(("limit", "price_in", "price_out"), "a number"),
    **dict.fromkeys(("num_fewshot", "repeat"), "a whole number"),
    **dict.fromkeys(("multiturn", "predict_only", "dry_run", "allow_code"), "true or false"),
}
_LIMITS: dict[str, _Fits] = {
    "tasks": (bool, "names of tasks, such as gsm8k,mmlu"),
    "limit": (lambda value: value > 0 and (value < 1 or value == int(value)), "a number of items, or a share below 1"),
    "num_fewshot": (lambda value: value >= 0, "0 or more"),
    "repeat": (lambda value: value >= 1, "1 or more"),
    "mode": (lambda value: value in ("auto", *MODES), f"auto, {', '.join(MODES)}"),
    "stage": (lambda value: value in ("all", "infer", "score"), "infer, score or all"),
    "price_in": _PRICE,
    "price_out": _PRICE,
}
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
