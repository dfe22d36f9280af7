"""The rooms of the package: each imports only from rooms to its left, and no module imports itself through others."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.golden import Golden
from support.rooms import FILES, MODULES, ORDER, PACKAGE, PURPOSE, draw, edges, imported, module_name, room

# The same inside evals, whose folders are rooms of their own.
EVALS = """
settings lock data requests scoring output rescore compare lm_eval prepare dry_run evaluate lm_eval_model
"""
EVALS_ORDER = {name: place for place, name in enumerate(EVALS.split())}
# Rooms that compute: they get times, random generators and bytes as arguments.
PURE = {"apis", "stats", "metrics", "checks", "schedule", "scorers", "tasks"}
IMPURE = {"asyncio", "socket", "time", "random"}
# Third-party libraries, and the files (or rooms) that may import them.
DOORS = {
    "aiohttp": "transport/aiohttp_client.py",
    "argparse": "cli/ swarm/settings.py swarm/command.py",
    "datasets": "dataset/formats/huggingface.py",
    "fcntl": "evals/lock.py",
    "gevent": "swarm/",
    "httptools": "transport/connection.py sim/http.py",
    "lm_eval": "evals/lm_eval/harness.py evals/lm_eval_model.py",
    "locust": "swarm/",
    "pandas": "report/exports/requests_csv.py",
    "plotly": "-",  # a file of it is read (report/assets.py), nothing is imported
    "prometheus_client": "server_metrics/prometheus.py",
    "pyarrow": "dataset/formats/parquet.py report/exports/parquet.py",
    "rich": "report/terminal.py",
    "transformers": "dataset/tokenizer.py",
    "uvloop": "host/event_loop.py",
    "yaml": "config/files.py",
}


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_room_imports_only_from_rooms_to_its_left(path: Path) -> None:
    own = room(module_name(path))
    for module in imported(path):
        if module.split(".")[0] == "loadstone" and room(module) != own:
            assert ORDER[room(module)] < ORDER[own], f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", [path for path in FILES if room(module_name(path)) == "evals"], ids=name)
def test_a_part_of_evals_imports_only_from_parts_to_its_left(path: Path) -> None:
    own = module_name(path).split(".")[2:3]
    for module in imported(path) if own else ():
        other = module.split(".")[2:3]
        if room(module) == "evals" and other and other != own:
            assert EVALS_ORDER[other[0]] < EVALS_ORDER[own[0]], f"{name(path)} imports {module}"


def test_no_module_imports_itself_through_others() -> None:
    imports = {
        module: {other for other in imported(path) if other in MODULES} - {module} for module, path in MODULES.items()
    }
    finished: set[str] = set()

    def walk(module: str, way: list[str]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in finished:
            for other in sorted(imports[module]):
                walk(other, [*way, module])
            finished.add(module)

    for module in sorted(imports):
        walk(module, [])


@pytest.mark.parametrize("path", [path for path in FILES if room(module_name(path)) in PURE], ids=name)
def test_rooms_that_compute_have_no_clock_no_socket_and_no_chance(path: Path) -> None:
    assert not {module.split(".")[0] for module in imported(path)} & IMPURE


@pytest.mark.parametrize("path", FILES, ids=name)
def test_each_library_has_one_door(path: Path) -> None:
    for library in {module.split(".")[0] for module in imported(path)} & set(DOORS):
        assert name(path).startswith(tuple(DOORS[library].split())), f"{name(path)} imports {library}"


def test_the_root_holds_few_modules() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 12
    assert {room(module) for module in MODULES} == set(ORDER)


def test_each_room_says_what_it_is_for() -> None:
    for path in FILES:
        if path.name == "__init__.py":
            assert path.read_text("utf-8").startswith('"""'), f"{name(path)} has no docstring"


def test_the_picture_of_the_rooms_is_that_of_the_code(golden: Golden) -> None:
    assert set(edges()) == set(PURPOSE)
    golden("docs/rooms.svg", draw())
