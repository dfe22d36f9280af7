"""lm-eval's own recipe of rescoring on samples that Loadstone wrote: does lm-eval accept them, and find the same?

By hand, with the Python of an environment that has lm-eval 0.4.13, from the folder in which the tasks' data lies:
    PYTHON tests/bench/lm_eval_recipe.py TASKS_FOLDER EVALUATION
Task by name from TaskManager, instances from build_all_requests, the saved responses into them by doc_id and doc_hash,
apply_filters, process_results, aggregation; then lm-eval's table of our results file, and the samples as a `datasets`
table. Ends with status 1 where a figure differs.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any


def saved(path: Path) -> dict[tuple[int, str], list[Any]]:
    """Responses by doc_id and doc_hash."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {(line["doc_id"], line["doc_hash"]): line["resps"] for line in lines}


def figures(task: Any, responses: dict[tuple[int, str], list[Any]]) -> dict[str, float]:
    """lm-eval's figures of the task, by `metric,filter`."""
    from lm_eval.utils import handle_non_serializable, hash_string

    task.build_all_requests(limit=None)
    by_doc: dict[int, list[Any]] = defaultdict(list)
    for instance in task.instances:
        by_doc[instance.doc_id].append(instance)
    for doc_id, instances in by_doc.items():
        told = json.dumps(instances[0].doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
        lanes = responses[doc_id, hash_string(told)]
        for instance, lane in zip(sorted(instances, key=lambda one: one.idx), lanes, strict=True):
            instance.resps = [(float(one[0]), one[1] == "True") if isinstance(one, list) else one for one in lane]
    task.apply_filters()
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name in task.instances[0].filtered_resps:
        for instances in by_doc.values():
            ordered = sorted(instances, key=lambda one: one.idx)
            found = task.process_results(ordered[0].doc, [one.filtered_resps[name] for one in ordered])
            for metric, value in found.items():
                values[metric, name].append(value)
    return {f"{metric},{name}": task.aggregation()[metric](each) for (metric, name), each in values.items()}


def main() -> int:
    import datasets
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import get_file_task_name, get_sample_results_filenames, make_table

    tasks, folder = map(Path, sys.argv[1:3])
    (results,) = folder.glob("results_*.json")
    told = json.loads(results.read_text("utf-8"))
    print(make_table(told))
    files = get_sample_results_filenames([str(path) for path in folder.iterdir()])
    wrong = 0
    for file in sorted(files):
        name = get_file_task_name(Path(file).name)
        table = datasets.load_dataset("json", data_files=file, split="train")
        task = TaskManager(include_path=str(tasks), include_defaults=False).load([name])["tasks"][name]
        for key, value in figures(task, saved(Path(file))).items():
            ours = told["results"][name][key]
            wrong += abs(ours - value) > 1e-12
            print(f"{name} {key}: lm-eval {value:.6f}, Loadstone {ours:.6f}, {len(table)} lines as a table")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
