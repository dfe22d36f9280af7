"""`loadstone sweep`: runs over lists of settings, over a load that finds its own points, or in search of an objective.

The grammar of lists is grid.py's, what is run and in which order is a guide's, and reports are those of views.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from loadstone import flags, grid
from loadstone.config import FLAGS, Config, flag, from_mapping
from loadstone.points import Grid, Sweep
from loadstone.records import Summary, UsageError
from loadstone.values import Listed, law, listed, one_of, switch, think, time as seconds, whole, workers

NEVER = ("output", "label", "goodput", "header", "request_id", "save_text", "save_bodies", "max_error_rate")
"""Settings that are the whole sweep's."""
OWN = ("vary", "order", "repeat", "rest", "gpus", "kinds")
_LISTS: tuple[Any, ...] = (whole, float, seconds, law, think, workers)
Kinds = Mapping[str, Callable[[str], Any]]


class _Lists:
    """Takes the flags of `run` for a parser, and lets those with a number, a length, a time or a choice take lists."""

    def __init__(self, target: Any, kinds: dict[str, Callable[[str], Any]]) -> None:
        self._target, self._kinds = target, kinds

    def add_argument_group(self, *given: Any) -> _Lists:
        return _Lists(self._target.add_argument_group(*given), self._kinds)

    def add_argument(self, *names: str, **options: Any) -> None:
        kind = options.get("type", str)
        if choices := options.pop("choices", None):
            kind, options["metavar"] = one_of(choices), "{" + ",".join(choices) + "}"
        if choices or kind in _LISTS:
            options["type"] = listed(kind)
        plain = options.get("action") in (None, "append") and "nargs" not in options
        action = self._target.add_argument(*names, **options)
        self._kinds[action.dest] = kind if plain else switch


def add(verb: ArgumentParser) -> None:
    kinds: dict[str, Callable[[str], Any]] = {}
    flags.add(cast(ArgumentParser, _Lists(verb, kinds)))
    verb.set_defaults(kinds=kinds)
    sweep = verb.add_argument_group("sweep (docs/sweeps.md; every number, length, time and choice may be a list)")
    sweep.add_argument(
        "--vary", action="append", metavar="FLAG=LIST", help="a list for any flag: 'dataset=a.jsonl,b.jsonl'; repeatable"
    )
    order = sweep.add_mutually_exclusive_group()
    order.add_argument("--grid", dest="order", action="store_const", const="grid", help="every combination (default)")
    order.add_argument("--zip", dest="order", action="store_const", const="zip", help="first with first, second ...")
    sweep.add_argument("--repeat", type=whole, metavar="N", help="runs of each point (1)")
    sweep.add_argument("--rest", type=seconds, metavar="T", help="pause before each run but the first (0)")
    sweep.add_argument("--gpus", type=whole, metavar="N", help="of the server: tokens/s are told for each of them")


def run(options: Namespace) -> int:
    from loadstone import cli, loop, session, store
    from loadstone.campaign import Campaign, every

    fixed, lists = split(vars(options), options.kinds)
    config = cli.config_of(Namespace(**fixed))
    path = Path(config.output) if config.output else store.default_path(config.label or "sweep")
    campaign = Campaign(path, planned(options, config, lists), config, cli.notice)
    raise NotImplementedError


def split(given: Mapping[str, Any], kinds: Kinds) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The flags of one run, and lists by field, in the order typed; those of --vary behind. Raises UsageError."""
    lists = {name: list(value) for name, value in given.items() if isinstance(value, Listed)}
    fixed = {name: value for name, value in given.items() if name not in lists and name not in OWN}
    for text in given.get("vary", ()):
        name, found = varied(text, kinds)
        if name in lists or name in fixed:
            raise UsageError(f"--{flag(name)} is given twice: leave it out beside --vary {text}")
        lists[name] = found
    return fixed, lists


def varied(text: str, kinds: Kinds) -> tuple[str, list[Any]]:
    """A field and its values, from `FLAG=LIST`. Raises UsageError."""
    from argparse import ArgumentTypeError

    named, equals, values = text.partition("=")
    plain = named.strip().lstrip("-").replace("-", "_")
    name = {other.replace("-", "_"): field for field, other in FLAGS.items()}.get(plain, plain)
    if not equals or not values:
        raise UsageError(f"--vary takes FLAG=VALUE,VALUE such as temperature=0,1, not {text!r}")
    if name not in kinds or name in NEVER or name not in Config.__struct_fields__:
        raise UsageError(f"--vary takes a flag of `loadstone run` that points can differ in, not {named!r}")
    try:
        return name, grid.values(values, kinds[name])
    except (ValueError, ArgumentTypeError) as exc:
        raise UsageError(f"--vary {named}: {exc}") from exc


def planned(options: Namespace, config: Config, lists: dict[str, list[Any]]) -> Grid:
    """What sweep.json says before anything has run."""
    order = grid.paired if getattr(options, "order", "grid") == "zip" else grid.product
    shared = config.shown() | {"output": None}
    return Grid(
        label=config.label or "",
        config=shared,
        varied=list(lists),
        places=grid.places(order(lists)),
        gpus=getattr(options, "gpus", None),
        repeat=getattr(options, "repeat", 1),
    )
