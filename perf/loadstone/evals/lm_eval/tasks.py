"""A task of lm-eval in our terms: its instances as requests, so that they are asked like any other.

Takes lm-eval's task object as it is, and imports nothing of lm-eval. Judging the answers is judging.py's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from loadstone.errors import UsageError
from loadstone.evals.lm_eval.scoring import HarnessScorer
from loadstone.evals.requests.build import EvalRequest, Form, Item
from loadstone.samples import Question, Sample
from loadstone.tasks.spec import Data, Filter, Generation, HarnessTask, Likelihood, Mode

PREFIX = "lm-eval:"
# Of the draw of worked examples, and of the first pass where answers are sampled: lm-eval's default.
SEED = 1234
# lm-eval's `max_gen_toks` where a task has none.
LENGTH = 256
Raw = dict[str, Any]


class TaskOptions(Struct, frozen=True, kw_only=True):
    """What is asked of a task, by the names of settings.Eval. `gen`: fields of the request over those of the task."""

    limit: float | None = None
    ids: list[int] | None = None
    num_fewshot: int | None = None
    repeat: int = 1
    system: str | None = None
    multiturn: bool = False
    gen: dict[str, Any] = {}


class LmEvalTask:
    """A task of lm-eval as one that can be asked, and judged item by item."""

    def __init__(self, name: str, task: Any) -> None:
        self.name = name
        self._task = task
        self._instances: dict[int, list[Any]] = {}
        self._together = int(task.config.repeats or 1) > 1
        self.scorer = HarnessScorer(name, task, self._instances, self._together)
        self.spec = self._spec()

    @property
    def mode(self) -> Mode:
        """In which it is answered: the task's own way is the only one."""
        return self.scorer.mode

    @property
    def shots(self) -> int:
        """Worked examples before each question."""
        return int(self._task.config.num_fewshot or 0)

    @property
    def original(self) -> int:
        """Rows of the split."""
        return len(self._task.eval_docs)

    @property
    def config(self) -> Raw:
        """Its configuration, as lm-eval writes it into its results."""
        found: Raw = self._task.dump_config()
        return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]

    def items(self, options: TaskOptions, form: Form) -> list[Item]:
        """The items with their requests. Raises UsageError where the task cannot be asked like this."""
        if self._task.OUTPUT_TYPE == "loglikelihood_rolling" and form == "messages":
            raise UsageError(f"lm-eval:{self.name} measures a whole text, which no chat can: say --api completions")
        self._build(options, form)
        passes = int(self._task.config.repeats) if self._together else options.repeat
        return [
            self._item(doc_id, instances, form, passes, options.gen) for doc_id, instances in self._instances.items()
        ]

    def settings(self, gen: Mapping[str, Any]) -> Raw:
        """Of its generation, as sent; none for a choice."""
        return generation_settings(self._task.config.generation_kwargs or {}, gen) if self.mode == "generation" else {}

    def _build(self, ask: TaskOptions, form: Form) -> None:
        task, limit = self._task, ask.limit
        if ask.num_fewshot is not None and task.get_config("num_fewshot") != 0:
            task.set_config("num_fewshot", ask.num_fewshot)
        task.set_fewshot_seed(SEED)
        if limit is not None:
            limit = math.ceil(self.original * limit) if limit < 1 else int(limit)
        ids = None if ask.ids is None else sorted(ask.ids)
        if ids and ids[-1] >= self.original:
            raise UsageError(f"--samples asks {self.name} for {ids[-1]}, but its doc_ids are 0 to {self.original - 1}")
        try:
            task.build_all_requests(
                limit=limit,
                samples=ids,
                system_instruction=ask.system,
                apply_chat_template=form == "messages",
                fewshot_as_multiturn=ask.multiturn,
                chat_template=_as_json if form == "messages" else None,
            )
        except Exception as exc:  # as above
            raise UsageError(f"lm-eval cannot put together {self.name}: {type(exc).__name__}: {exc}") from exc
        self._instances.clear()
        for instance in task.instances:
            number = ids[instance.doc_id] if ids else instance.doc_id
            self._instances.setdefault(number, []).append(instance)
        for instances in self._instances.values():
            instances.sort(key=lambda instance: instance.idx)

    def _item(self, doc_id: int, instances: Sequence[Any], form: Form, passes: int, gen: Mapping[str, Any]) -> Item:
        doc = instances[0].doc
        sample = Sample(
            task=self.name,
            doc_id=doc_id,
            doc=doc,
            target=str(self._task.doc_to_target(doc)),
            ask=Question(query=""),
        )
        lanes = [
            [self._wanted(f"{self.name}:{doc_id}/{at}", attempt, one, form, gen) for attempt in range(passes)]
            for at, one in enumerate(instances)
        ]
        return Item(sample, lanes)

    def _wanted(self, name: str, attempt: int, instance: Any, form: Form, gen: Mapping[str, Any]) -> EvalRequest:
        ident = f"{name}#{attempt}" if attempt else name
        if instance.request_type == "loglikelihood_rolling":
            return EvalRequest(
                id=ident, mode="loglikelihood", prompt="", continuation=instance.args[0], attempt=attempt
            )
        context, what = instance.args
        asked: Any = json.loads(context) if form == "messages" and context else context
        if instance.request_type == "loglikelihood":
            return EvalRequest(id=ident, mode="loglikelihood", prompt=asked, continuation=what, attempt=attempt)
        settings = generation_settings(what, gen)
        if settings.get("temperature"):
            settings = {**settings, "seed": settings.get("seed", SEED) + attempt}
        return EvalRequest(id=ident, mode="generation", prompt=asked, settings=settings, attempt=attempt)

    def _spec(self) -> HarnessTask:
        """The task in our terms, as far as others have to know it: its name, how it is answered, what counts."""
        template = f"{PREFIX}{self.name}"
        filters = tuple(Filter(name, _unread, _unscored) for name in self.scorer.filters)
        words = Generation(template=template, filters=filters, headline=self.scorer.headline)
        choice = Likelihood(
            template=template, metrics=tuple(sorted(self.scorer.names, key=lambda one: one != self.scorer.headline))
        )
        config = self._task.config
        return HarnessTask(
            lm_eval_task=self,
            name=self.name,
            title=str(config.task_alias or self.name),
            version=_version((config.metadata or {}).get("version")),
            source="lm-eval",
            data=Data(
                path=str(config.dataset_path or ""),
                config=config.dataset_name,
                split=str(config.test_split or config.validation_split or "test"),
                shots_split=config.fewshot_split,
            ),
            query=lambda doc: str(self._task.doc_to_text(doc)),
            target=lambda doc: str(self._task.doc_to_target(doc)),
            shots=self.shots,
            generation=words if self.mode == "generation" else None,
            likelihood=choice if self.mode != "generation" else None,
            default=self.mode,
            repeats=int(self._task.config.repeats or 1),
        )


def _version(said: Any) -> float:
    try:
        return float(said)
    except (TypeError, ValueError):
        return 0.0


def _as_json(history: list[Raw], add_generation_prompt: bool = True) -> str:  # noqa: ARG001  lm-eval's to give
    """In the place of a chat template, which is the server's to apply: the messages, to be read back."""
    return json.dumps(history, ensure_ascii=False)


_RENAMED = {"until": "stop", **dict.fromkeys(("max_gen_toks", "max_new_tokens"), "max_tokens")}


def generation_settings(given: Mapping[str, Any], gen: Mapping[str, Any]) -> Raw:
    """lm-eval's `generation_kwargs` under the names of a request, as its `local-completions` has them: temperature 0
    unless given, `do_sample` without a meaning."""
    named = {_RENAMED.get(name, name): value for name, value in given.items() if name != "do_sample"}
    found = {"max_tokens": LENGTH, "temperature": 0.0, "stop": [], **named, **gen}
    if isinstance(found["stop"], str):
        found["stop"] = [found["stop"]]
    return {name: value for name, value in found.items() if value is not None and value != []}


def _unread(text: str, sample: Sample) -> str | None:  # noqa: ARG001
    """lm-eval's filters do it."""
    return text


def _unscored(text: str, sample: Sample) -> Mapping[str, float | list[float]]:  # noqa: ARG001
    """lm-eval's `process_results` does it."""
    return {}
