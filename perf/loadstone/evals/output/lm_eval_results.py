"""lm-eval 0.4.13's `results_<time>.json`, key by key, from the results of all tasks; our own under `loadstone`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loadstone.evals.output.lm_eval_samples import BYPASS, OUR_KEY, EvalMetadata, digest, lm_eval_argument, sanitize
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.samples import Evaluation, GroupResult, TaskResult
from loadstone.tasks.spec import Group

# The version of lm-eval whose layout this is.
LM_EVAL = "0.4.13"


def task_config(setup: TaskSetup, metadata: EvalMetadata) -> dict[str, Any]:
    """Return a task's configuration, as close to lm-eval's as a task without YAML has one."""
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
        "metadata": {"version": task.version, "model": metadata.model, **metadata.arguments},
    }


def build_results(
    metadata: EvalMetadata,
    setups: Sequence[TaskSetup],
    groups: Sequence[Group],
    evaluation: Evaluation,
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    """Return the content of the results file. hashes: of the lines of each task."""
    tasks = {task.task: task for task in evaluation.tasks}
    group_entries = {group.name: _group_entry(group) for group in evaluation.groups}
    names = {group.name: list(group.tasks) for group in groups if group.name in group_entries}
    better = {name: {figure.metric: True for figure in each.figures} for name, each in tasks.items()}
    shots = {setup.task.name: setup.shots for setup in setups}
    for group in evaluation.groups:
        better[group.name] = {metric: True for name in group.tasks for metric in better[name]}
        if len(same := {shots[name] for name in group.tasks}) == 1:
            shots[group.name] = same.pop()
    versions: dict[str, Any] = {setup.task.name: setup.task.version for setup in setups}
    return {
        "results": {**{name: _task_entry(each) for name, each in tasks.items()}, **group_entries},
        **({"groups": group_entries} if group_entries else {}),
        "group_subtasks": names,
        "configs": dict(sorted((setup.task.name, task_config(setup, metadata)) for setup in setups)),
        "versions": dict(sorted({**versions, **dict.fromkeys(group_entries, "N/A")}.items())),
        "n-shot": dict(sorted(shots.items())),
        "higher_is_better": dict(sorted(better.items())),
        "n-samples": {
            setup.task.name: {"original": setup.original, "effective": tasks[setup.task.name].items} for setup in setups
        },
        "config": _run_config(metadata),
        "git_hash": None,
        "date": metadata.began,
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
        "model_source": metadata.source,
        "model_name": metadata.model,
        "model_name_sanitized": sanitize(metadata.model),
        "system_instruction": metadata.system,
        "system_instruction_sha": digest(metadata.system) if metadata.system else None,
        "fewshot_as_multiturn": metadata.multiturn,
        "chat_template": None,
        "chat_template_sha": None,
        "total_evaluation_time_seconds": str(metadata.took),
        OUR_KEY: msgspec.to_builtins(evaluation),
    }


def _run_config(metadata: EvalMetadata) -> dict[str, Any]:
    return {
        "model": metadata.source,
        "model_args": {"model": metadata.model, **metadata.arguments},
        "batch_size": 1,
        "batch_sizes": [],
        "device": None,
        "use_cache": metadata.cache,
        "limit": metadata.limit,
        "bootstrap_iters": 0,
        "gen_kwargs": metadata.gen,
        "random_seed": metadata.seed,
        "numpy_seed": metadata.seed,
        "torch_seed": metadata.seed,
        "fewshot_seed": 1234,
    }


def _task_entry(task: TaskResult) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": task.task, "alias": task.task, "sample_len": task.items}
    for figure in task.figures:
        entry |= _metric_fields(figure.metric, figure.filter, figure.all.value, figure.stderr)
    return entry if task.figures else {**entry, **_metric_fields("bypass", "none", BYPASS, None)}


def _metric_fields(metric: str, filter_name: str, value: float, stderr: float | None) -> dict[str, Any]:
    return {f"{metric},{filter_name}": value, f"{metric}_stderr,{filter_name}": "N/A" if stderr is None else stderr}


def _group_entry(group: GroupResult) -> dict[str, Any]:
    entry: dict[str, Any] = {"alias": group.name, "name": group.name, "sample_len": group.items}
    for key, (value, stderr, _) in group.figures.items():
        metric, _, filter_name = key.partition(",")
        entry |= _metric_fields(metric, filter_name, value, stderr)
    return {**entry, "sample_count": {key: count for key, (_, _, count) in group.figures.items()}}
