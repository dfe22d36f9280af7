"""`loadstone selftest`: measure the highest load that this machine measures accurately."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Annotated, Literal

from loadstone.cli.flags import add_flags
from loadstone.cli.options import read_options
from loadstone.config.flags import Flag
from loadstone.report.output import notice


@dataclass(frozen=True, kw_only=True)
class SelftestOptions:
    """What is measured, and how it is shown."""

    quick: Annotated[bool, Flag("finish in half a minute, with fewer samples and no verdicts")] = False
    url: Annotated[
        list[str],
        Flag(
            "a `loadstone serve --ttft 10ms --itl 10ms` on a second machine; repeat for several servers"
            " (default: a server on this machine)",
            repeat=True,
        ),
    ] = field(default_factory=list)
    transport: Annotated[Literal["wire", "aiohttp"], Flag("HTTP client to test (default: wire)")] = "wire"
    view: Annotated[Literal["text", "json"], Flag("output format: text (default) or json", name="as")] = "text"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `selftest`."""
    add_flags(parser, SelftestOptions)


def run(options: argparse.Namespace) -> int:
    """Measure this machine, save the result and show it. Return exit status 0."""
    from loadstone.host import ceiling_file
    from loadstone.report import terminal
    from loadstone.report.json import to_json
    from loadstone.selftest import page, processes, timing
    from loadstone.selftest.run import measure_ceiling

    asked = read_options(SelftestOptions, options)
    # Before minutes of measuring, so that they are not lost.
    ceiling_file.check_writable()
    if unreadable := ceiling_file.saved_ceilings()[1]:
        notice(f"{unreadable}; what is found now replaces it")
    processes.interrupt_on_signals()
    scope = timing.QUICK if asked.quick else timing.FULL
    ceiling = measure_ceiling(asked.url, scope, asked.transport, notice)
    file = ceiling_file.save_ceiling(ceiling)
    if asked.view == "json":
        print(to_json(ceiling), end="")
    else:
        terminal.draw(page.tables(ceiling))
    notice(f"saved in {file}; runs on this machine quote it" if file else "not saved: a full self-test is there")
    return 0
