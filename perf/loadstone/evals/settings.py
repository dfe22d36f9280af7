"""The settings of an evaluation: its own, and those of the load that its requests are.

They come from the command line, a TOML or YAML file, or a mapping. The only file that is read here is one with doc_ids.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from loadstone.config import files, flags, redact
from loadstone.config.flags import Flag, settings_of
from loadstone.config.kinds import Kind
from loadstone.config.limits import Limits
from loadstone.config.load import Pace
from loadstone.config.loading import located
from loadstone.config.output import Output, Scraping
from loadstone.config.providers import DEFAULT_API, resolve
from loadstone.config.sampling import Sampling
from loadstone.config.schema import Config
from loadstone.config.server import Server
from loadstone.errors import ConfigError
from loadstone.sweep import grid

Stage = Literal["all", "infer", "score"]
# Default number of retries: an answer that failed would have to be requested again anyway.
RETRIES = 3
# lm-eval's words for values that JSON writes otherwise, in lower case.
_CONSTANTS = {"true": True, "false": False, "none": None}


def _split_names(values: list[str]) -> list[str]:
    """Split names separated by commas. A file with a comma in its name can be given in a list."""
    names = values[0].split(",") if len(values) == 1 else values
    return [name.strip() for name in names if name.strip()]


def parse_samples(text: str) -> Any:
    """Parse doc_ids by task from JSON or from a file with it, as lm-eval's --samples. Raises ConfigError."""
    content = text
    if not text.lstrip().startswith("{"):
        path = Path(text).expanduser()
        if text.endswith(".json"):
            return files.read(path, "--samples")
        try:
            content = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            sentence = f"--samples takes '{{\"gsm8k\": [0, 7]}}' or a file with that, not {text!r}"
            raise ConfigError(sentence, field="samples") from exc
    try:
        return json.loads(content)
    except ValueError as exc:
        raise ConfigError(f"--samples {text[:60]} is not JSON: {exc}", field="samples") from exc


def parse_fields(text: str) -> dict[str, Any]:
    """Parse names and values as lm-eval takes them: `temperature=0.6,until=["Q:"],do_sample=true`. Raises ValueError.

    A value is JSON if it parses as JSON, else text.
    """
    fields = dict[str, Any]()
    for pair in grid.split(text):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not name or not equals:
            raise ValueError(text)
        if value.lower() in _CONSTANTS:
            fields[name] = _CONSTANTS[value.lower()]
            continue
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        try:
            fields[name] = value[1:-1] if quoted else json.loads(value)
        except ValueError:
            fields[name] = value
    return fields


_FIELDS = Kind("fields of the requests such as temperature=0.6,top_p=0.95", parse_fields, "K=V,K=V", text=".+")
_SCORES = Kind("official scores such as mmlu=68.9", parse_fields, "K=V,K=V", text=".+")
_SAMPLES = Kind('doc_ids by task such as {"gsm8k": [0, 7]}', parse_samples, "JSON|FILE", text=".+")


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is asked: tasks and items, and how a model answers."""

    GROUP: ClassVar = "evaluation (docs/evals.md)"

    tasks: Annotated[
        list[str],
        Flag(
            "tasks to run: gsm8k,mmlu,qa:FILE ... (see loadstone list tasks)",
            Kind("names of tasks such as gsm8k,mmlu", str),
            metavar="LIST",
            join=_split_names,
        ),
    ] = field(default_factory=list)
    data: Annotated[
        str | None,
        Flag("folder with the data, or bundled (default: hub cache)", name="data-dir", metavar="DIR"),
    ] = None
    include_path: Annotated[
        str | None, Flag("folder with your own lm-eval tasks, to be named as lm-eval:NAME", metavar="DIR")
    ] = None
    limit: Annotated[
        float | None, Flag("items of each task, as a number or a fraction (default: all)", metavar="N|SHARE")
    ] = None
    samples: Annotated[dict[str, list[int]], Flag('doc_ids to run, as {"gsm8k": [0, 7]}', _SAMPLES)] = field(
        default_factory=dict
    )
    num_fewshot: Annotated[int | None, Flag("few-shot examples (default: the task's)", least=0)] = None
    multiturn: Annotated[bool, Flag("send few-shot examples as chat turns, not in one message")] = False
    mode: Annotated[
        Literal["auto", "generation", "loglikelihood", "letters"],
        Flag("how the model answers (default: auto, the task's mode)"),
    ] = "auto"
    repeat: Annotated[
        int | None, Flag("passes, for avg@k, pass@k and maj@k (default: the task's)", metavar="K", least=1)
    ] = None
    gen: Annotated[dict[str, Any], Flag("request fields that override the task's", _FIELDS, hide=redact.hide)] = field(
        default_factory=dict
    )
    output_len: Annotated[int | None, Flag("maximum tokens of an answer (default: the task's)", least=1)] = None
    system: Annotated[str | None, Flag("system prompt of all requests", metavar="TEXT")] = None
    allow_code: Annotated[bool, Flag("run programs that the model writes", name="allow-code-execution")] = False


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Which steps are run, and what is added to the results."""

    GROUP: ClassVar = "steps and results"

    stage: Annotated[
        Stage, Flag("send the requests only (infer), score saved answers only (score), or both (default: all)")
    ] = "all"
    predict_only: Annotated[
        bool,
        Flag("save the answers, score nothing"),
    ] = False
    dry_run: Annotated[bool, Flag("send nothing; show counts, tokens and the first prompts in full")] = False
    cache: Annotated[str | None, Flag("folder of answers to reuse, shared by evaluations", metavar="DIR")] = None
    price_in: Annotated[float | None, Flag("price of a million input tokens", least=0)] = None
    price_out: Annotated[float | None, Flag("price of a million output tokens", least=0)] = None
    target: Annotated[dict[str, float], Flag("official scores to show in the leaderboard row", _SCORES)] = field(
        default_factory=dict
    )


# A dataclass has the fields of its last base first.
@dataclass(frozen=True, kw_only=True)
class Eval(Output, Scraping, Pace, Sampling, Limits, Server, Steps, Questions):
    """One evaluation of one model. Call `check()` before use."""

    # Settings that are another thing here than in a run.
    model: Annotated[
        str | None,
        Flag("model to evaluate; repeat for several (default: the first that the server lists)", repeat=True),
    ] = None
    retries: Annotated[
        int, Flag("retries of a request after HTTP 429, 5xx or a lost connection (default: 3)", least=0)
    ] = RETRIES
    temperature: Annotated[float | None, Flag("sampling temperature (default: the task's, mostly 0)", metavar="T")] = (
        None
    )
    output: Annotated[
        str | None,
        Flag("folder of the evaluation, one for each model (default: reports/TIME-eval)", short="-o", metavar="DIR"),
    ] = None

    @property
    def load(self) -> Config:
        """Return the settings of the runs that send the requests."""
        shared = settings_of(Config).keys() & settings_of(type(self)).keys()
        return Config(**{name: getattr(self, name) for name in shared} | {"api": self.api or DEFAULT_API})

    def check(self) -> Eval:
        """Check the settings. Return them with everything that shapes answers in `gen`. Raises ConfigError."""
        flags.check(self)
        if not self.tasks:
            raise ConfigError("--tasks takes names of tasks, such as gsm8k,mmlu", field="tasks")
        if self.limit is not None and not (self.limit > 0 and (self.limit < 1 or self.limit == int(self.limit))):
            raise ConfigError(f"--limit takes a number of items, or a share below 1, not {self.limit}", field="limit")
        for clashes, name, sentence in _CLASHES:
            if clashes(self):
                raise ConfigError(sentence, field=name)
        for name in self.gen.keys() & _NOT_IN_GEN.keys():
            raise ConfigError(f"--gen {name}: {_NOT_IN_GEN[name]}", field="gen")
        for name, ids in self.samples.items():
            if not ids:
                sentence = f"--samples asks no item of {name}: give it doc_ids, or leave it out of --tasks"
                raise ConfigError(sentence, field="samples")

        # Settings of the load that shape answers become fields of the requests.
        resolved = resolve(self)
        shaping = {name: value for name in _SHAPING if (value := getattr(self, name)) is not None}
        gen = openai_names({**{_SHAPING[name]: value for name, value in shaping.items()}, **self.gen})
        for name, (is_valid, expected) in _GEN_LIMITS.items():
            value = gen.get(name)
            if value is not None and not (type(value) in (int, float) and is_valid(value)):
                flag = _GEN_FLAGS.get(name, f"--gen {name}")
                raise ConfigError(f"{flag} takes {expected}, not {str(value)[:40]}", field="gen")
        unset: dict[str, Any] = dict.fromkeys(shaping)
        api = self.api or (None if resolved.api == DEFAULT_API else resolved.api)
        checked = replace(resolved, gen=gen, api=api, **unset)
        checked.load.check()
        return checked

    def shown(self) -> dict[str, Any]:
        """Return the settings as they may be written to a file, without keys: its own, and those of `load` in it."""
        own = settings_of(Questions).keys() | settings_of(Steps).keys() | {"api"}
        fields = flags.redacted(self)
        return {name: value for name, value in fields.items() if name in own} | {"load": self.load.redacted()}


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
    return [flags.flag_name(Eval, name) for name, old, new in pairs if old != new]


def from_mapping(fields: Mapping[str, Any], where: str, file: str | None = None) -> list[Eval]:
    """Return an evaluation for each model.

    fields: settings by the names of flags or fields. Those of the load are beside the others, or in a table `load`
    where: source of the settings, for error messages
    file: file that some of them are from

    Raises ConfigError.
    """
    inner = fields.get("load", {})
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{where}: `load` is a table of the settings of `loadstone run`", field="load", file=file)
    named = {name.replace("-", "_"): value for table in (inner, fields) for name, value in table.items()}
    named.pop("load", None)
    if "tasks" not in named:
        raise ConfigError(f"{where} names no tasks: give --tasks gsm8k,mmlu (loadstone list tasks)", field="tasks")
    models = named.pop("model", None)
    models = models if isinstance(models, list) else [models]
    if len(set(models)) < len(models) or not models:
        raise ConfigError(f"{where}: each --model is given once", field="model")
    with located(file, Eval):
        evaluation = flags.from_mapping(Eval, named, "eval")
        return [replace(evaluation, model=model) for model in models]


# Whether a value is valid, and what is expected.
_Check = tuple[Callable[[Any], bool], str]
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
# Settings that must be equal if an evaluation is continued: its own, and those of the load.
_SAME = ("tasks", "api", "data", "num_fewshot", "multiturn", "mode", "gen", "system")
_SAME_LOAD = ("url", "model", "provider", "extra_body", "chat_template_kwargs", "body_template", "text_path")
# Combinations that make no sense: the setting at fault, and the sentence.
_CLASHES: tuple[tuple[Callable[[Eval], bool], str, str], ...] = (
    (
        lambda e: bool(e.samples) and e.limit is not None,
        "samples",
        "--limit and --samples exclude each other: give one of them",
    ),
    (
        lambda e: not {"n", "best_of"}.isdisjoint(e.extra_body),
        "extra_body",
        "--extra-body n: give --repeat for several answers",
    ),
    (
        lambda e: e.predict_only and e.stage == "score",
        "predict_only",
        "--predict-only scores nothing: leave out --stage score",
    ),
    (
        lambda e: e.dry_run and e.stage == "score",
        "dry_run",
        "--dry-run shows what would be asked: leave out --stage score",
    ),
    (
        lambda e: e.stage == "score" and not e.output,
        "stage",
        "--stage score needs the evaluation: give its folder with -o",
    ),
    (
        lambda e: bool(e.cache) and e.own_model,
        "cache",
        "--cache knows answers by the server's address: leave it out with a model of"
        " your own, which may change in its file",
    ),
    (lambda e: len(e.models) > 1, "model", "--model takes one model each time: give --model once for each, not a mix"),
    (lambda e: e.arrivals == "replay", "arrivals", "--arrivals replay is for traces: give --rate or -c"),
)
