"""lm-eval 0.4.13's `results_<time>.json`, key by key, from what all tasks came to; ours under `loadstone`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loadstone.evals.output.lm_eval_samples import BYPASS, OUR_KEY, EvalMetadata, digest, lm_eval_argument, sanitize
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.samples import Evaluation, GroupResult, TaskResult
from loadstone.tasks.spec import Group

# Whose layout it is.
LM_EVAL = "0.4.13"


def task_config(setup: TaskSetup, about: EvalMetadata) -> dict[str, Any]:
    """A task's configuration, as near as one that is no YAML comes to it."""
    if setup.lm_eval_config is not None:
        return setup.lm_eval_config
    task, data = setup.task, setup.task.data
    spec = task.generation if setup.mode == "generation" else None
    description = task.description if spec is None or spec.description is None else spec.description
    names = [setup.info.headline[0]] if spec else list(task.likelihood.metrics if task.likelihood else ())
    generation = {"generation_kwargs": lm_eval_argument(setup.settings)} if spec else {}
    filters = [{"name": name} for name in setup.filters]
    return {
        "task": task.name,
        "task_alias": task.title,
        "dataset_path": data.path,
        **({"dataset_name": data.config} if data.config else {}),
        "test_split": data.split,
        **({"fewshot_split": data.shots_split} if data.shots_split else {}),
        "doc_to_text": f"{OUR_KEY}:{setup.template}",
        "doc_to_target": f"{OUR_KEY}:{setup.template}",
        "unsafe_code": bool(spec and spec.code),
        **({} if spec else {"doc_to_choice": f"{OUR_KEY}:{setup.template}"}),
        "description": description,
        "target_delimiter": task.target_delimiter,
        "fewshot_delimiter": task.fewshot_delimiter,
        "fewshot_config": {"sampler": "default" if task.draw == "random" else "first_n"},
        "num_fewshot": setup.shots,
        "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in names],
        "output_type": "generate_until" if spec else "multiple_choice",
        **generation,
        "repeats": setup.repeats,
        **({"filter_list": filters} if spec and setup.filters != ["none"] else {}),
        "should_decontaminate": False,
        "metadata": {"version": task.version, "model": about.model, **about.arguments},
    }


def build_results(
    about: EvalMetadata,
    setups: Sequence[TaskSetup],
    groups: Sequence[Group],
    evaluation: Evaluation,
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    """The results file. `hashes`: of the lines of each task."""
    tallied = {each.task: each for each in evaluation.tasks}
    grouped = {group.name: _group(group) for group in evaluation.groups}
    names = {group.name: list(group.tasks) for group in groups if group.name in grouped}
    better = {name: {figure.metric: True for figure in each.figures} for name, each in tallied.items()}
    shots = {setup.task.name: setup.shots for setup in setups}
    for group in evaluation.groups:
        better[group.name] = {metric: True for name in group.tasks for metric in better[name]}
        if len(same := {shots[name] for name in group.tasks}) == 1:
            shots[group.name] = same.pop()
    versions: dict[str, Any] = {setup.task.name: setup.task.version for setup in setups}
    return {
        "results": {**{name: _task(each) for name, each in tallied.items()}, **grouped},
        **({"groups": grouped} if grouped else {}),
        "group_subtasks": names,
        "configs": dict(sorted((setup.task.name, task_config(setup, about)) for setup in setups)),
        "versions": dict(sorted({**versions, **dict.fromkeys(grouped, "N/A")}.items())),
        "n-shot": dict(sorted(shots.items())),
        "higher_is_better": dict(sorted(better.items())),
        "n-samples": {
            setup.task.name: {"original": setup.original, "effective": tallied[setup.task.name].items}
            for setup in setups
        },
        "config": _run(about),
        "git_hash": None,
        "date": about.began,
        "pretty_env_info": None,
        "transformers_version": None,
        "lm_eval_version": LM_EVAL,
        "upper_git_hash": None,
        "tokenizer_pad_token": None,
        "tokenizer_eos_token": None,
        "tokenizer_bos_token": None,
        "eot_token_id": None,
        "max_length": None,
        "task_hashes": dict(hashes),
        "model_source": about.source,
        "model_name": about.model,
        "model_name_sanitized": sanitize(about.model),
        "system_instruction": about.system,
        "system_instruction_sha": digest(about.system) if about.system else None,
        "fewshot_as_multiturn": about.multiturn,
        "chat_template": None,
        "chat_template_sha": None,
        "total_evaluation_time_seconds": str(about.took),
        OUR_KEY: msgspec.to_builtins(evaluation),
    }


def _run(about: EvalMetadata) -> dict[str, Any]:
    return {
        "model": about.source,
        "model_args": {"model": about.model, **about.arguments},
        "batch_size": 1,
        "batch_sizes": [],
        "device": None,
        "use_cache": about.cache,
        "limit": about.limit,
        "bootstrap_iters": 0,
        "gen_kwargs": about.gen,
        "random_seed": about.seed,
        "numpy_seed": about.seed,
        "torch_seed": about.seed,
        "fewshot_seed": 1234,
    }


def _task(tallied: TaskResult) -> dict[str, Any]:
    found: dict[str, Any] = {"name": tallied.task, "alias": tallied.task, "sample_len": tallied.items}
    for figure in tallied.figures:
        found |= _pair(figure.metric, figure.filter, figure.all.value, figure.stderr)
    return found if tallied.figures else {**found, **_pair("bypass", "none", BYPASS, None)}


def _pair(metric: str, name: str, value: float, error: float | None) -> dict[str, Any]:
    return {f"{metric},{name}": value, f"{metric}_stderr,{name}": "N/A" if error is None else error}


def _group(group: GroupResult) -> dict[str, Any]:
    found: dict[str, Any] = {"alias": group.name, "name": group.name, "sample_len": group.items}
    for key, (value, error, _) in group.figures.items():
        metric, _, name = key.partition(",")
        found |= _pair(metric, name, value, error)
    return {**found, "sample_count": {key: count for key, (_, _, count) in group.figures.items()}}
