"""The table of layers, held by the imports themselves: who may import whom, and which library has which door."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "perf" / "loadstone"
LAYERS: dict[int, str] = {
    0: "records samples text",
    # from bytes to a reply; what a run is asked to do
    1: "sse ndjson apis template reply typed config plugins laws stages arrivals plan dialogue"
    # whom it asks, and how often
    " providers dummy retries budget"
    # when it ends early, and how it stands
    " stops saturation pulses history attained"
    # from records to numbers
    " stats correlation blocks intervals transient student binomial histogram pool spool buckets"
    " events columns windows groups passage checks accuracy measure traces gauges scraped served"
    # whether they can be believed
    " check finding interference means ceiling climb against pace"
    # several processes
    " shares messages losses scale"
    # several runs: repeats, comparisons, sweeps, searches, capacity
    " repeats compare contrast estimate differing gates paired"
    " points grid stock pareto knee objectives far probes search"
    " bursts curves capacity demand fleet views"
    # evals: benchmarks, reading and judging answers
    " tasks scorers",
    2: "transport jobs alarm loop launch readers tokens wording frame store machine usage room"
    " exposition server_csv lookout mappings",
    # a process, and several; the server's metrics; before and around a run; what comes of it; self-test; many runs
    3: "flight carrier attempts runner engine worker workers scraper scraping preflight setup keys describe session"
    " guards health watchers progress sofar screen live results console outputs exports sources lab selftest"
    " repeating sides sweeps campaign guides courses calls evals",
    4: "__init__ __main__ cli arguments flags values listing verbs sim swarm",
}
LAYER = {name: layer for layer, names in LAYERS.items() for name in names.split()}
DOORS = {
    "transformers": {"tokens.py"},
    "pandas": {"frame.py"},
    "pyarrow": {"readers/parquet.py", "exports/parquet.py"},
    "datasets": {"readers/hub.py"},
    "prometheus_client": {"exposition.py"},
    "rich": {"console.py"},
    "lm_eval": {"evals/bridge.py", "evals/lm_eval_model.py"},
    "yaml": {"mappings.py"},
    "fcntl": {"evals/alone.py"},
    "plotly": set(),  # a file of it is read, views/assets.py
    "aiohttp": {"transport/over_aiohttp.py"},
    "httptools": {"transport/connection.py", "sim/http.py"},
    "uvloop": {"loop.py"},
    "locust": {f"swarm/{name}.py" for name in ("locustfile", "post", "master", "shape", "dispatch", "command")},
    "gevent": {f"swarm/{name}.py" for name in ("engines", "worker", "master", "muster")},
    "argparse": {"arguments.py", "flags.py", "values.py", "cli.py", "swarm/settings.py", "swarm/command.py"}
    | {f"verbs/{path.name}" for path in (PACKAGE / "verbs").glob("*.py")},
}
PURE_NEVER = {"socket", "asyncio", "time", "subprocess", "threading", "random"}
PURE_EXCEPT: set[tuple[str, str]] = set()


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Modules imported anywhere in a file; True for those behind TYPE_CHECKING, which do not run."""
    tree = ast.parse(path.read_text("utf-8"))
    guarded = {id(inner) for node in ast.walk(tree) if _guard(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in guarded) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = PACKAGE.parent.joinpath(*node.module.split("."), alias.name)
                whole = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if whole else node.module, id(node) in guarded


def _guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def unit(path: Path) -> str:
    return name(path).removesuffix(".py").split("/")[0]


@pytest.mark.parametrize("path", files(), ids=name)
def test_a_file_imports_only_from_its_layer_and_those_above(path: Path) -> None:
    for module, typing_only in imports(path):
        parts = module.split(".")
        if parts[0] == "loadstone" and len(parts) > 1 and not typing_only:
            assert LAYER[parts[1]] <= LAYER[unit(path)], f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", files(), ids=name)
def test_each_library_has_one_door(path: Path) -> None:
    for module, typing_only in imports(path):
        doors = DOORS.get(module.split(".")[0])
        assert doors is None or typing_only or name(path) in doors, f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", [path for path in files() if LAYER[unit(path)] <= 1], ids=name)
def test_the_pure_layers_know_no_clock_and_no_socket(path: Path) -> None:
    assert not {module.split(".")[0] for module, _ in imports(path)} & PURE_NEVER


def test_every_file_has_a_place_in_the_table() -> None:
    assert {unit(path) for path in files()} == set(LAYER)


@pytest.mark.parametrize("path", files(), ids=name)
def test_files_say_what_they_are_for_and_stay_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(text)), "a file opens with what it is for"
    assert text.count("\n") <= 400


def test_no_two_files_import_each_other() -> None:
    """Within a layer imports go one way."""
    edges = {
        (name(path), found)
        for path in files()
        for module, typing in imports(path)
        if not typing and (found := _file(module))
    }
    assert not [edge for edge in edges if edge[0] != edge[1] and (edge[1], edge[0]) in edges]


def _file(module: str) -> str | None:
    parts = module.split(".")[1:]
    if module.split(".")[0] != "loadstone" or not parts:
        return None
    plain = PACKAGE.joinpath(*parts).with_suffix(".py")
    return "/".join(parts) + (".py" if plain.is_file() else "/__init__.py")


def test_contributing_says_what_every_file_of_evaluations_is_for() -> None:
    text = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text("utf-8")
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", text.partition("of evaluations")[2]))))
    assert {path.stem for path in (PACKAGE / "evals").glob("*.py")} - named == {"__init__"}


def test_the_folders_of_the_project() -> None:
    root = PACKAGE.parents[1]
    assert not list((root / "datasets").rglob("*.py"))
    assert not (PACKAGE / "datasets").exists()
    assert not (PACKAGE / "reports").exists()
