"""A task of lm-eval as one of Loadstone's: its instances become requests, which are sent like any other.

Uses lm-eval's task object as it is, and imports nothing of lm-eval. scoring.py scores the responses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from loadstone.errors import ConfigError, DataError
from loadstone.evals.lm_eval.scoring import HarnessScorer
from loadstone.evals.requests.build import Item
from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest, RequestId
from loadstone.evals.settings import Eval
from loadstone.samples import Question, Sample
from loadstone.tasks.spec import Data, Filter, Generation, HarnessTask, Likelihood, Mode

PREFIX = "lm-eval:"
# Seed of the choice of worked examples, and of the first pass if answers are sampled: lm-eval's default.
SEED = 1234
# Maximum tokens of an answer if a task does not set `max_gen_toks`: lm-eval's default.
MAX_TOKENS = 256
Fields = dict[str, Any]


class LmEvalTask:
    """A task of lm-eval that can be answered, and scored item by item.

    scorer: scores its items with lm-eval
    spec: the same task for the rest of Loadstone
    """

    def __init__(self, name: str, task: Any) -> None:
        self.name = name
        self._task = task
        self._instances: dict[int, list[Any]] = {}
        # The task makes one answer of all passes.
        self._joint_passes = int(task.config.repeats or 1) > 1
        self.scorer = HarnessScorer(name, task, self._instances, self._joint_passes)
        self.spec = self._spec()

    @property
    def mode(self) -> Mode:
        """Return how it is answered: a task of lm-eval has one mode."""
        return self.scorer.mode

    @property
    def shots(self) -> int:
        """Return the number of worked examples before each question."""
        return int(self._task.config.num_fewshot or 0)

    @property
    def original(self) -> int:
        """Return the number of rows of the split."""
        return len(self._task.eval_docs)

    @property
    def config(self) -> Fields:
        """Return the configuration, as lm-eval writes it into its results."""
        config: Fields = json.loads(json.dumps(self._task.dump_config(), default=str))
        return config

    def items(self, settings: Eval, answer_mode: AnswerMode) -> list[Item]:
        """Build the items with their requests. Raises UsageError."""
        if self._task.OUTPUT_TYPE == "loglikelihood_rolling" and answer_mode.form == "messages":
            raise ConfigError(f"lm-eval:{self.name} measures a whole text, which no chat can: say --api completions")
        self._build_instances(settings, answer_mode)
        passes = int(self._task.config.repeats) if self._joint_passes else settings.repeat or 1
        items: list[Item] = []
        for doc_id, instances in self._instances.items():
            doc = instances[0].doc
            sample = Sample(
                task=self.name,
                doc_id=doc_id,
                doc=doc,
                target=str(self._task.doc_to_target(doc)),
                ask=Question(query=""),
            )
            requests: list[list[EvalRequest]] = []
            for number, instance in enumerate(instances):
                ids = [RequestId(self.name, doc_id, number, attempt) for attempt in range(passes)]
                requests.append([self._request(request_id, instance, answer_mode, settings.gen) for request_id in ids])
            items.append(Item(sample, requests))
        return items

    def settings(self, gen: Mapping[str, Any]) -> Fields:
        """Return the settings of the generation, as sent; none for a choice."""
        if self.mode != "generation":
            return {}
        return generation_settings(self._task.config.generation_kwargs or {}, gen)

    def _build_instances(self, settings: Eval, answer_mode: AnswerMode) -> None:
        """Have lm-eval build its instances, and sort them by doc_id."""
        task, limit, messages = self._task, settings.limit, answer_mode.form == "messages"
        if settings.num_fewshot is not None and task.get_config("num_fewshot") != 0:
            task.set_config("num_fewshot", settings.num_fewshot)
        task.set_fewshot_seed(SEED)
        if limit is not None:
            limit = math.ceil(self.original * limit) if limit < 1 else int(limit)
        ids = sorted(settings.samples[self.name]) if self.name in settings.samples else None
        if ids and ids[-1] >= self.original:
            raise ConfigError(
                f"--samples asks {self.name} for {ids[-1]}, but its doc_ids are 0 to {self.original - 1}",
                field="samples",
            )
        try:
            task.build_all_requests(
                limit=limit,
                samples=ids,
                system_instruction=settings.system,
                apply_chat_template=messages,
                fewshot_as_multiturn=settings.multiturn,
                chat_template=_messages_as_json if messages else None,
            )
        except Exception as exc:  # a task is a program, and its data may be anywhere
            raise DataError(f"lm-eval cannot put together {self.name}: {type(exc).__name__}: {exc}") from exc
        # lm-eval numbers the instances of selected samples from 0.
        self._instances.clear()
        for instance in task.instances:
            doc_id = ids[instance.doc_id] if ids else instance.doc_id
            self._instances.setdefault(doc_id, []).append(instance)
        for instances in self._instances.values():
            instances.sort(key=lambda instance: instance.idx)

    def _request(
        self, request_id: RequestId, instance: Any, answer_mode: AnswerMode, gen: Mapping[str, Any]
    ) -> EvalRequest:
        """Return the request of an instance."""
        if instance.request_type == "loglikelihood_rolling":
            return EvalRequest(id=request_id, answer_mode=answer_mode, prompt="", continuation=instance.args[0])
        context, argument = instance.args
        prompt: Any = json.loads(context) if answer_mode.form == "messages" and context else context
        if instance.request_type == "loglikelihood":
            return EvalRequest(id=request_id, answer_mode=answer_mode, prompt=prompt, continuation=argument)
        settings = generation_settings(argument, gen)
        if settings.get("temperature"):
            settings = {**settings, "seed": settings.get("seed", SEED) + request_id.attempt}
        return EvalRequest(id=request_id, answer_mode=answer_mode, prompt=prompt, settings=settings)

    def _spec(self) -> HarnessTask:
        """Return the task as far as the rest of Loadstone needs it: its name, how it is answered, what counts."""
        template = f"{PREFIX}{self.name}"
        filters = tuple(Filter(name, _extract_nothing, _score_nothing) for name in self.scorer.filters)
        generation = Generation(template=template, filters=filters, headline=self.scorer.headline)
        metrics = sorted(self.scorer.names, key=lambda name: name != self.scorer.headline)
        likelihood = Likelihood(template=template, metrics=tuple(metrics))
        config = self._task.config
        try:
            version = float((config.metadata or {})["version"])
        except (KeyError, TypeError, ValueError):
            version = 0.0
        return HarnessTask(
            lm_eval_task=self,
            name=self.name,
            title=str(config.task_alias or self.name),
            version=version,
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
            generation=generation if self.mode == "generation" else None,
            likelihood=likelihood if self.mode != "generation" else None,
            default=self.mode,
            repeats=int(self._task.config.repeats or 1),
        )


def _messages_as_json(history: list[Fields], add_generation_prompt: bool = True) -> str:  # noqa: ARG001  lm-eval's
    """Return messages as JSON, to be decoded again: the server applies its chat template itself."""
    return json.dumps(history, ensure_ascii=False)


_NAMES = {"until": "stop", **dict.fromkeys(("max_gen_toks", "max_new_tokens"), "max_tokens")}


def generation_settings(kwargs: Mapping[str, Any], gen: Mapping[str, Any]) -> Fields:
    """Return lm-eval's `generation_kwargs` under the names of a request, as its `local-completions` has them.

    The default temperature is 0, and `do_sample` has no effect.
    gen: fields that override them
    """
    named = {_NAMES.get(name, name): value for name, value in kwargs.items() if name != "do_sample"}
    settings = {"max_tokens": MAX_TOKENS, "temperature": 0.0, "stop": [], **named, **gen}
    if isinstance(settings["stop"], str):
        settings["stop"] = [settings["stop"]]
    return {name: value for name, value in settings.items() if value is not None and value != []}


def _extract_nothing(text: str, sample: Sample) -> str | None:  # noqa: ARG001
    """Return the text: lm-eval's filters extract the answer."""
    return text


def _score_nothing(text: str, sample: Sample) -> Mapping[str, float | list[float]]:  # noqa: ARG001
    """Return no metrics: lm-eval's `process_results` computes them."""
    return {}
