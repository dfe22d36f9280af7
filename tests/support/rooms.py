"""The rooms of the package, read from the code: their order, their imports, and the picture of docs/architecture.md.

`make golden` draws the picture anew; `tests/test_rooms.py` holds the directions and compares the picture with the code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from support.paths import ROOT

PACKAGE = ROOT / "perf" / "loadstone"
# From left to right: a room imports only from those before it. A line is a row of the picture, ordered as well.
ROWS = (
    "units version text errors records samples plugins",
    "config",
    "summary apis transport",
    "stats schedule dataset",
    "host",
    "metrics checks",
    "server_metrics engine",
    "report",
    "results live",
    "loadtest",
    "scorers tasks sim",
    "sweep",
    "compare capacity selftest",
    "evals swarm",
    "__init__",
    "cli __main__",
)
ORDER = {room: index for index, room in enumerate(" ".join(ROWS).split())}
NOUNS = set(ROWS[0].split())
# What a room is for, as the picture says it.
PURPOSE = {
    "nouns": "records, samples, errors, text, units: the data that flows",
    "summary": "run.json, the figures of a run",
    "stats": "intervals, quantiles",
    "apis": "prompt to body, stream to events",
    "transport": "sockets and timestamps",
    "config": "what a user may set",
    "schedule": "what is sent when",
    "dataset": "rows to prompts",
    "host": "this machine",
    "metrics": "records to numbers",
    "checks": "can the run be believed",
    "server_metrics": "/metrics pages",
    "engine": "sends the schedule",
    "report": "pages, tables, exports",
    "results": "a run's files and numbers",
    "live": "progress display",
    "loadtest": "load_test(config)",
    "scorers": "extract and score answers",
    "tasks": "benchmarks",
    "sim": "the simulated server",
    "sweep": "many points, SLO search",
    "compare": "run against run",
    "capacity": "replicas and cost",
    "selftest": "the client's own ceiling",
    "evals": "accuracy on the same transport",
    "swarm": "many machines, over Locust",
    "__init__": "the Python interface",
    "cli": "one file per command",
}
_WIDTH, _BOX, _HEIGHT, _ROW = 760, 216, 40, 66


def module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {module_name(path): path for path in FILES}


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports: at the top, in functions, for type checking, and as "loadstone.x:y"."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            reference = re.fullmatch(r"(loadstone(?:\.\w+)+):\w+", node.value)
            if reference:
                yield reference[1]


def room(module: str) -> str:
    """Return the room of a module: its folder in the package, or its own name in the root."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def edges() -> dict[str, set[str]]:
    """Return which rooms each room imports. The root's nouns, which every room may use, are one room: `nouns`."""
    found: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        own = _merged(room(module))
        others = {_merged(room(other)) for other in imported(path) if other.split(".")[0] == "loadstone"}
        found.setdefault(own, set()).update(others - {own})
    return found


def draw() -> str:
    """Return the picture as SVG: a row of boxes for each group, and the imports that no other import implies."""
    imports = edges()
    places = _places()
    # An edge is left out where a chain of others leads to the same room.
    reach: dict[str, set[str]] = {}
    for name in places:
        reach[name] = set(imports.get(name, ()))
        for other in imports.get(name, ()):
            reach[name] |= reach.get(other, set())
    lines = []
    for name in places:
        direct = imports.get(name, set())
        for other in sorted(direct, key=list(places).index):
            if not any(other in reach[third] for third in direct if third != other):
                lines.append(_edge(places[name], places[other]))
    boxes = [_box(name, *place) for name, place in places.items()]
    height = _ROW * len(ROWS) + 8
    return "\n".join([_HEAD.format(width=_WIDTH, height=height), *lines, *boxes, "</svg>", ""])


def _merged(name: str) -> str:
    return "nouns" if name in NOUNS else "cli" if name == "__main__" else name


def _places() -> dict[str, tuple[float, float]]:
    """Return the left top corner of each room's box."""
    found: dict[str, tuple[float, float]] = {}
    for row, names in enumerate(ROWS):
        shown = list(dict.fromkeys(_merged(name) for name in names.split()))
        left = (_WIDTH - len(shown) * (_BOX + 24) + 24) / 2
        for column, name in enumerate(shown):
            found[name] = (left + column * (_BOX + 24), row * _ROW + 6)
    return found


def _box(name: str, left: float, top: float) -> str:
    middle = left + _BOX / 2
    width = 420 if name == "nouns" else _BOX
    title = "the nouns of the root" if name == "nouns" else name
    return (
        f'<rect x="{middle - width / 2:g}" y="{top:g}" width="{width}" height="{_HEIGHT}" rx="6"/>\n'
        f'<text x="{middle:g}" y="{top + 16:g}" class="name">{title}</text>\n'
        f'<text x="{middle:g}" y="{top + 31:g}" class="purpose">{PURPOSE[name]}</text>'
    )


def _edge(lower: tuple[float, float], upper: tuple[float, float]) -> str:
    if lower[1] == upper[1]:
        level = lower[1] + _HEIGHT / 2
        begin, end = (lower[0], upper[0] + _BOX + 4) if lower[0] > upper[0] else (lower[0] + _BOX, upper[0] - 4)
        way = f"M{begin:g} {level:g}H{end:g}"
    else:
        x1, y1, x2, y2 = lower[0] + _BOX / 2, lower[1], upper[0] + _BOX / 2, upper[1] + _HEIGHT + 4
        bend = (y1 - y2) / 2
        way = f"M{x1:g} {y1:g}C{x1:g} {y1 - bend:g} {x2:g} {y2 + bend:g} {x2:g} {y2:g}"
    return f'<path d="{way}" marker-end="url(#arrow)"/>'


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
aria-label="The rooms of the package and what each imports">
<style>
svg {{ font-family: system-ui, sans-serif; background: #fff }}
rect {{ fill: #eef3fa; stroke: #6b8fbf }}
path {{ fill: none; stroke: #8a94a3; stroke-width: 1.1 }}
marker path {{ fill: #8a94a3; stroke: none }}
text {{ text-anchor: middle; fill: #1d2733 }}
.name {{ font-size: 13px; font-weight: 600 }}
.purpose {{ font-size: 11px; fill: #4b5868 }}
@media (prefers-color-scheme: dark) {{
svg {{ background: #10151c }}
rect {{ fill: #1c2735; stroke: #54759f }}
text {{ fill: #e6ebf2 }}
.purpose {{ fill: #a9b5c4 }}
}}
</style>
<defs>
<marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0L8 4L0 8z"/></marker></defs>"""
