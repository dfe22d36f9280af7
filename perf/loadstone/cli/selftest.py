"""`loadstone selftest`: find the most that this machine can measure truly."""

from __future__ import annotations

import argparse

from loadstone.report.output import notice


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="in half a minute, with fewer samples and no verdicts")
    parser.add_argument(
        "--url",
        action="append",
        help="a `loadstone serve --ttft 10ms --itl 10ms` on a second machine; again for more; without it here",
    )
    parser.add_argument("--transport", choices=["wire", "aiohttp"], help="the client's way of speaking HTTP (wire)")
    parser.add_argument("--as", dest="view", choices=["text", "json"], help="text (default) or json")


def run(options: argparse.Namespace) -> int:
    """Measure this machine, save the result and show it. Return exit status 0."""
    from loadstone.host import machine
    from loadstone.report import terminal
    from loadstone.report.json import to_json
    from loadstone.selftest import page, processes, timing
    from loadstone.selftest.run import measure_ceiling

    machine.check_writable()
    if wrong := machine.saved_ceilings()[1]:
        notice(f"{wrong}; what is found now replaces it")
    processes.interrupt_on_signals()
    wanted = timing.QUICK if getattr(options, "quick", False) else timing.FULL
    found = measure_ceiling(getattr(options, "url", ()), wanted, getattr(options, "transport", "wire"), notice)
    file = machine.save_ceiling(found)
    if getattr(options, "view", "text") == "json":
        print(to_json(found), end="")
    else:
        terminal.draw(page.tables(found))
    notice(f"saved in {file}; runs on this machine quote it" if file else "not saved: a full self-test is there")
    return 0
