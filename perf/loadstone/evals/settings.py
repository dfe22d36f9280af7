"""What an evaluation is asked to do: its own settings, and those of the load that its requests are.

Pure. The command line, a TOML or YAML file or a mapping fills it; `from_mapping` sorts out which setting is whose.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from loadstone.config import Config
from loadstone.tasks.spec import Mode

Stage = Literal["all", "infer", "score"]


class Eval(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One evaluation of one model; `load` is the run that its questions make. `check()` raises UsageError.

    tasks: names of tasks, groups or benchmarks, `qa:FILE`, `mcq:FILE`, `lm-eval:NAME`, `FILE.py:NAME`.
    data: the folder with the data, or `bundled` for the small sets that come with Loadstone; None: the cache of Hugging
    Face's `datasets`.
    limit: so many items of each task, or below 1 that share; samples: doc_ids, by task.
    num_fewshot, mode, gen, repeat, system: over those of the tasks; None: the task's own. `gen`: fields of the request.
    multiturn: examples as turns of a chat rather than in one message.
    cache: folder of answers that need not be asked again.
    price_in, price_out: of a million tokens.
    target: official scores by group, for the leaderboard row.
    """

    tasks: list[str]
    load: Config = Config()
    provider: str | None = None
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
    cache: str | None = None
    price_in: float | None = None
    price_out: float | None = None
    target: dict[str, float] = {}
