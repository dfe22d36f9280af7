"""The settings of the simulated server, each with its flag. Pure.

They are compared by identity (`eq=False`): the cache of parsed requests hashes them for each request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from loadstone.config import flags, kinds
from loadstone.config.flags import Flag
from loadstone.config.kinds import Kind
from loadstone.sim.timing import distribution


def _check_distribution(text: str) -> str:
    """Return the text of a distribution. Raises ValueError if it is none."""
    distribution(text)
    return text


_TIMES = Kind(
    "a time such as 50ms or 0.05s, uniform(a,b), normal(mean,sd), exp(mean) or lognormal(mean,sd)",
    _check_distribution,
    "DIST",
    text=".+",
)
_FAULT = Kind("NAME:SHARE or NAME@I,J", str, "NAME:SHARE|NAME@I,J")
_EXACT = (("engine", "with --engine vllm the engine's steps say when"),)
_VLLM = (("engine",), "it is a setting of the simulated engine, --engine vllm")
_ROWS = (("answers",), "it is about the rows of that file")


@dataclass(frozen=True, kw_only=True, eq=False)
class ListenerSettings:
    """Where the server listens, and to whom."""

    host: Annotated[str, Flag("address to bind (default: 127.0.0.1)")] = "127.0.0.1"
    port: Annotated[
        int, Flag("port to bind; 0 is any free port (default: 8000)", metavar="PORT", least=0, most=65535)
    ] = 8000
    unix: Annotated[str | None, Flag("bind a Unix socket instead", metavar="PATH")] = None
    model: Annotated[str, Flag("name of the model (default: sim)")] = "sim"
    api_key_env: Annotated[
        str | None, Flag("environment variable with the API key that requests must send", metavar="NAME")
    ] = None
    certfile: Annotated[str | None, Flag("serve TLS with this certificate", metavar="FILE")] = None
    keyfile: Annotated[
        str | None,
        Flag("private key of the certificate", metavar="FILE", needs=(("certfile",), "it is the key of a certificate")),
    ] = None
    # No setting: the key that requests must send.
    api_key: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponseSettings:
    """When responses come with `--engine exact`, how long they are, and which of them fail."""

    ttft: Annotated[
        str | float,
        Flag(
            "distribution of the time to first token: 50ms, uniform(a,b), normal(m,s), exp(m), lognormal(m,s)",
            _TIMES,
            excludes=_EXACT,
        ),
    ] = "50ms"
    itl: Annotated[
        str | float, Flag("distribution of the time between tokens (default: 10ms)", _TIMES, excludes=_EXACT)
    ] = "10ms"
    tokens_per_chunk: Annotated[int, Flag("tokens per event (default: 1)", least=1, excludes=_EXACT)] = 1
    default_tokens: Annotated[
        int, Flag("tokens of an answer if the request has no max_tokens (default: 128)", least=1)
    ] = 128
    max_model_len: Annotated[int, Flag("maximum tokens of prompt and answer (default: 131072)", least=1)] = 131072
    faults: Annotated[
        list[str],
        Flag(
            "fault to apply to a fraction of the requests or to those numbered I, J; an unknown name lists all faults",
            _FAULT,
            name="fault",
            repeat=True,
            join=list,
        ),
    ] = field(default_factory=list)
    slow: Annotated[float, Flag("delay of the fault slow-head (default: 2s)", kinds.TIME, least=0)] = 2.0
    seed: Annotated[int, Flag("seed of distributions, texts and faults (default: 0)")] = 0
    # No setting: how many of the latest requests GET /truth has.
    truth_limit: int = 200_000


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerSettings:
    """Recorded answers, and the bad ones among them."""

    GROUP: ClassVar = (
        "recorded answers (docs/recorded-answers.md; SHARE is a fraction of the rows, or a number of rows above 1)"
    )

    answers: Annotated[
        str | None,
        Flag("JSONL of question (or prompt, messages) and answer; these questions get these answers", metavar="FILE"),
    ] = None
    answer_wrong: Annotated[
        float, Flag("rows answered wrongly (default: 0)", metavar="SHARE", least=0, needs=_ROWS)
    ] = 0.0
    answer_truncated: Annotated[
        float, Flag("rows whose answer is cut before its end (default: 0)", metavar="SHARE", least=0, needs=_ROWS)
    ] = 0.0
    answer_unparsable: Annotated[
        float,
        Flag("rows answered with text that contains no answer (default: 0)", metavar="SHARE", least=0, needs=_ROWS),
    ] = 0.0
    answer_empty: Annotated[
        float, Flag("rows answered with empty text (default: 0)", metavar="SHARE", least=0, needs=_ROWS)
    ] = 0.0
    answer_failing: Annotated[
        float, Flag("rows answered with HTTP 500 each time (default: 0)", metavar="SHARE", least=0, needs=_ROWS)
    ] = 0.0
    planted: Annotated[
        str | None, Flag("write which rows got which bad answer to this file", metavar="FILE", needs=_ROWS)
    ] = None


@dataclass(frozen=True, kw_only=True, eq=False)
class EngineSettings:
    """The engine; what is None is as in the preset (engine/presets.py)."""

    GROUP: ClassVar = "engine (these flags are named as in vLLM)"

    engine: Annotated[
        Literal["exact", "vllm"], Flag("exact (default): the given times; vllm: continuous batching as in vLLM")
    ] = "exact"
    preset: Annotated[
        str | None, Flag("hardware and model: tiny, h100-8b (default), h100x4-70b or h100x8-70b", needs=_VLLM)
    ] = None
    max_num_seqs: Annotated[int | None, Flag("maximum sequences per step", least=1, needs=_VLLM)] = None
    max_num_batched_tokens: Annotated[int | None, Flag("maximum tokens per step", least=1, needs=_VLLM)] = None
    num_gpu_blocks: Annotated[
        int | None,
        Flag("blocks of the KV cache", aliases=("num-gpu-blocks-override",), least=1, needs=_VLLM),
    ] = None
    block_size: Annotated[int | None, Flag("tokens per KV cache block (default: 16)", least=1, needs=_VLLM)] = None
    prefix_caching: Annotated[bool, Flag("disable prefix caching", aliases=("enable-prefix-caching",), needs=_VLLM)] = (
        True
    )
    num_speculative_tokens: Annotated[
        int | None, Flag("draft tokens per step (default: 0)", metavar="K", least=0, needs=_VLLM)
    ] = None
    acceptance_rate: Annotated[
        float | None,
        Flag("probability that a draft token is accepted (default: 0)", metavar="P", least=0, most=1, needs=_VLLM),
    ] = None
    speedup: Annotated[float | None, Flag("factor by which steps are faster (default: 1)", above=0, needs=_VLLM)] = None


# A dataclass has the fields of its last base first.
@dataclass(frozen=True, kw_only=True, eq=False)
class Settings(EngineSettings, AnswerSettings, ResponseSettings, ListenerSettings):
    """The settings of the simulated server."""

    def check(self) -> None:
        """Check the settings. Raises ConfigError."""
        flags.check(self)
