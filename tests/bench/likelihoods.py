"""Log-likelihoods against lm-eval's own, on a real server: `python tests/bench/likelihoods.py URL TOKENIZER`.

Needs an environment with lm-eval, transformers and Loadstone, and vLLM with --enable-tokenizer-info-endpoint. 200
items with continuations of many tokens, in several scripts, with spaces on both sides, contexts longer than the model
takes, and tokens that reach over the boundary are asked by lm-eval's `local-completions`, then by each way that
Loadstone has; by `loadstone eval` with a task of one's own and through the bridge; and by `lm_eval --model loadstone`.
Then whole texts (perplexity), some in several windows. Asserts that all are within 1e-5. Texts without token ids leave
out the last two kinds, which need them. Exit status 1 when something is apart.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace

from loadstone.config.schema import Config
from loadstone.evals.requests import answers, capabilities, send, tokenize
from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest, RequestId
from loadstone.evals.requests.mode import available_modes

ALLOWED = 1e-5
ITEMS, TEXTS = 200, 6
WORDS = [
    "river",
    "seven",
    "module",
    "colour",
    "answer",
    "quickly",
    "unbelievable",
    "of",
    "the",
    "a",
    "lists",
    "files",
    "Paris",
    "photosynthesis",
    "x1",
    "3.14",
]
HAN, GREEK, FACES = "天地玄黄宇宙洪荒日月盈昃辰宿列张", "αβγδ εζη θικλ", "🙂🚀👩‍🔬🇫🇷é"
MIXED = """task: mixed
dataset_path: json
dataset_kwargs: {data_files: {test: mixed.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: context
doc_to_choice: choices
doc_to_target: answer
target_delimiter: ""
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
WHOLE = """task: whole
dataset_path: json
dataset_kwargs: {data_files: {test: whole.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: text
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
metadata: {version: 1.0}
"""
OWN = """from loadstone.tasks.spec import Benchmark, Data, Likelihood, Task

BENCHMARK = Benchmark(name="mixed", tasks=(Task(
    name="mixed", title="Mixed", version=1.0, source="tests/bench", target_delimiter="",
    data=Data(path="mixed", files=("mixed.jsonl",)), query=lambda doc: doc["context"],
    target=lambda doc: doc["choices"][doc["answer"]], choices=lambda doc: doc["choices"],
    gold=lambda doc: [doc["answer"]], likelihood=Likelihood(template="mixed"), default="loglikelihood",
),))
"""
Found = dict[tuple[int, int], tuple[float, bool]]


def rows() -> Iterator[dict[str, Any]]:
    """Items of eight kinds, in turn."""
    chance = Random(7)

    def some(least: int, most: int, source: Any = WORDS, between: str = " ") -> str:
        return between.join(chance.choices(source, k=chance.randint(least, most)))

    for number in range(ITEMS):
        question = f"Question {number}: {some(3, 20)}?"
        kind: tuple[str, Any] = (
            (f"{question}\nAnswer:", lambda: " " + some(1, 12)),
            (f"{question}\nAnswer:  ", lambda: some(1, 5)),
            (f"问题：{some(4, 20, HAN, '')}？\n答案：", lambda: some(1, 6, HAN, "")),
            (f"{question}\nThe ans", lambda: chance.choice(["wer is ", "wers", "we", "eris"]) + some(1, 3)),
            (f"{question} {some(1, 4, FACES, '')}\nAnswer:", lambda: " " + some(1, 4, FACES, "") + " " + some(1, 3)),
            (f"{question}\n\n", lambda: "\n" + some(1, 4) + "  "),
            (f"{some(1100, 1400) if number % 5 == 1 else question}\nAnswer:", lambda: " " + some(1, 6)),
            (f"{some(3, 9, GREEK, '')}\tAnswer:\t", lambda: some(1, 3, GREEK, "") + " " + some(1, 2)),
        )[number % 8]
        choices = list(dict.fromkeys(kind[1]() for _ in range(chance.randint(2, 5))))
        yield {"context": kind[0], "choices": choices, "answer": chance.randrange(len(choices)), "kind": number % 8}


def write(folder: Path) -> list[dict[str, Any]]:
    made = list(rows())
    chance = Random(8)
    texts = [{"text": " ".join(chance.choices(WORDS, k=size))} for size in (40, 400, 3000) for _ in range(TEXTS // 3)]
    for name, lines in (("mixed", made), ("whole", texts)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    (folder / "mixed").mkdir()
    (folder / "mixed" / "mixed.jsonl").write_bytes((folder / "mixed.jsonl").read_bytes())
    for file, text in (("mixed.yaml", MIXED), ("whole.yaml", WHOLE), ("own.py", OWN)):
        (folder / file).write_text(text, "utf-8")
    return made


def command(folder: Path, *arguments: str) -> None:
    """A program of this environment, in the folder of the tasks, offline."""
    offline = {f"{name}_OFFLINE": "1" for name in ("HF_HUB", "HF_DATASETS", "TRANSFORMERS")}
    environment = {**os.environ, **offline, "OPENAI_API_KEY": "none", "HF_HOME": str(folder / "hf")}
    done = subprocess.run([sys.executable, *arguments], check=False, cwd=folder, env=environment, capture_output=True,
                          text=True, timeout=900)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments[:3])} failed:\n{done.stderr[-3000:]}")


def logged(out: Path, task: str) -> list[dict[str, Any]]:
    path = max(out.rglob(f"samples_{task}_*.jsonl"))
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def of_samples(out: Path) -> Found:
    """From a samples file of lm-eval's or of ours: every log-likelihood is a text there."""
    return {
        (line["doc_id"], at): (float(resps[0][0]), str(resps[0][1]) == "True")
        for line in logged(out, "mixed")
        for at, resps in enumerate(line["resps"])
    }


def scores(out: Path, task: str) -> dict[str, float]:
    told = json.loads(max(out.rglob("results_*.json")).read_text("utf-8"))["results"][task]
    return {key: value for key, value in told.items() if key.endswith(",none") and "stderr" not in key}


def of_way(load: Config, folder: Path, made: list[dict[str, Any]], choice: AnswerMode, limit: int | None) -> Found:
    """By one way of ours, without the machinery around."""
    wanted = [
        EvalRequest(id=RequestId("", doc_id, at), answer_mode=choice, prompt=row["context"], continuation=choice_text)
        for doc_id, row in enumerate(made)
        for at, choice_text in enumerate(row["choices"])
    ]
    folder.mkdir()
    sent = asyncio.run(tokenize.tokenize_requests(wanted, load, folder, limit))
    asyncio.run(send.infer(sent, load, folder))
    came = answers.read(folder, sent)
    return {(name.doc_id, name.number): one.values[0] for name, one in came.items() if one.ok}  # type: ignore[misc]


def compared(name: str, found: Found, truth: Found, made: list[dict[str, Any]], left_out: set[int]) -> bool:
    """Prints a row, and says whether all that can be compared is equal."""
    keys = [key for key in truth if key in found and made[key[0]]["kind"] not in left_out]
    worst = max((abs(found[key][0] - truth[key][0]) for key in keys), default=float("inf"))
    greedy = sum(found[key][1] != truth[key][1] for key in keys)
    wanted = sum(made[key[0]]["kind"] not in left_out for key in truth)
    off = sum(abs(found[key][0] - truth[key][0]) > ALLOWED for key in truth if key in found)
    print(f"{name:34} {len(keys):5} of {wanted:4}  max |d| {worst:.2e}  greedy differs {greedy}  "
          f"(of all {len(truth)}: {len(truth) - len(found)} failed, {off} apart)")  # fmt: skip
    return worst <= ALLOWED and not greedy and len(keys) == wanted


def main(url: str, tokenizer: str) -> int:
    held = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = write(folder)
        (seen,) = asyncio.run(capabilities.probe_servers(Config(url=url)))
        base = (
            f"model=tiny,base_url={url}/v1/completions,num_concurrent=8,tokenizer={tokenizer},max_length={seen.context}"
        )
        run = ("--include_path", ".", "--tasks", "mixed,whole", "--log_samples", "--output_path")
        command(folder, "-m", "lm_eval", "run", "--model", "local-completions", "--model_args", base, *run, "lm-eval")
        truth = of_samples(folder / "lm-eval")
        load = Config(url=url, api="completions", concurrency=16)
        for choice in available_modes("loglikelihood", "completions", seen):
            for ids in (True, False):
                way = replace(choice.method, ids=ids)  # type: ignore[type-var]
                label = f"{way.kind}, {'token ids' if ids else 'text'}"
                mode = AnswerMode("loglikelihood", "completions", way)
                found = of_way(load, folder / label.replace(" ", ""), made, mode, seen.context)
                held.append(compared(label, found, truth, made, set() if ids else {3, 6}))
        common = ("--url", url, "-c", "16", "--quiet", "--as", "json", "--data-dir", ".", "--mode", "loglikelihood")
        command(folder, "-m", "loadstone", "eval", *common, "--tasks", "own.py:BENCHMARK", "-o", "own")
        held.append(compared("eval, a task of one's own", of_samples(folder / "own"), truth, made, set()))
        command(folder, "-m", "loadstone", "eval", "--url", url, "-c", "16", "--quiet", "--as", "json", "--tasks",
                "lm-eval:mixed,lm-eval:whole", "--include-path", ".", "-o", "bridge")  # fmt: skip
        held.append(compared("eval, the bridge", of_samples(folder / "bridge"), truth, made, set()))
        command(folder, "-m", "loadstone.evals.lm_eval_model", "run", "--model", "loadstone", "--model_args",
                f"url={url},concurrency=16,output=runs", *run, "model")  # fmt: skip
        held.append(compared("lm_eval --model loadstone", of_samples(folder / "model"), truth, made, set()))
        for out in ("own", "bridge", "model"):
            for task in ("mixed", "whole") if out != "own" else ("mixed",):
                ours, theirs = scores(folder / out, task), scores(folder / "lm-eval", task)
                apart = {key: abs(ours[key] / theirs[key] - 1) if theirs[key] else abs(ours[key]) for key in theirs}
                held.append(max(apart.values()) <= ALLOWED)
                print(f"{out:8} {task}: {ours}\n{'lm-eval':8} {task}: {theirs}")
    print("all equal" if all(held) else "NOT all equal")
    return 0 if all(held) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
