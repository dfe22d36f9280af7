"""`loadstone selftest`: measure the highest load that this machine measures accurately."""

from __future__ import annotations

import argparse

from loadstone.report.output import notice


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `selftest`."""
    parser.add_argument(
        "--quick", action="store_true", help="finish in half a minute, with fewer samples and no verdicts"
    )
    parser.add_argument(
        "--url",
        action="append",
        help="a `loadstone serve --ttft 10ms --itl 10ms` on a second machine; repeat for several servers"
        " (default: a server on this machine)",
    )
    parser.add_argument("--transport", choices=["wire", "aiohttp"], help="HTTP client to test (default: wire)")
    parser.add_argument("--as", dest="view", choices=["text", "json"], help="output format: text (default) or json")


def run(options: argparse.Namespace) -> int:
    """Measure this machine, save the result and show it. Return exit status 0."""
    from loadstone.host import ceiling_file
    from loadstone.report import terminal
    from loadstone.report.json import to_json
    from loadstone.selftest import page, processes, timing
    from loadstone.selftest.run import measure_ceiling

    # Before minutes of measuring, so that they are not lost.
    ceiling_file.check_writable()
    if unreadable := ceiling_file.saved_ceilings()[1]:
        notice(f"{unreadable}; what is found now replaces it")
    processes.interrupt_on_signals()
    scope = timing.QUICK if getattr(options, "quick", False) else timing.FULL
    ceiling = measure_ceiling(getattr(options, "url", ()), scope, getattr(options, "transport", "wire"), notice)
    file = ceiling_file.save_ceiling(ceiling)
    if getattr(options, "view", "text") == "json":
        print(to_json(ceiling), end="")
    else:
        terminal.draw(page.tables(ceiling))
    notice(f"saved in {file}; runs on this machine quote it" if file else "not saved: a full self-test is there")
    return 0
