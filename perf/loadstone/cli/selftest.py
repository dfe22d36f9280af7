"""`loadstone selftest`: find the most that this machine can measure truly."""

from __future__ import annotations

import argparse

from loadstone.report.output import notice


def add(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--quick", action="store_true", help="in half a minute, with fewer samples and no verdicts")
    verb.add_argument(
        "--url",
        action="append",
        help="a `loadstone serve --ttft 10ms --itl 10ms` on a second machine; again for more; without it here",
    )
    verb.add_argument("--transport", choices=["wire", "aiohttp"], help="the client's way of speaking HTTP (wire)")
    verb.add_argument("--as", dest="view", choices=["text", "json"], help="text (default) or json")


def run(options: argparse.Namespace) -> int:
    """Measure this machine, save the result and show it. Return exit status 0."""
    from loadstone.host import machine
    from loadstone.report import terminal
    from loadstone.report.json import to_json
    from loadstone.selftest import page, processes, timing
    from loadstone.selftest.run import measure

    machine.check_place()
    if wrong := machine.saved()[1]:
        notice(f"{wrong}; what is found now replaces it")
    processes.heed()
    wanted = timing.QUICK if getattr(options, "quick", False) else timing.FULL
    found = measure(getattr(options, "url", ()), wanted, getattr(options, "transport", "wire"), notice)
    file = machine.save(found)
    if getattr(options, "view", "text") == "json":
        print(to_json(found), end="")
    else:
        terminal.draw(page.tables(found))
    notice(f"saved in {file}; runs on this machine quote it" if file else "not saved: a full self-test is there")
    return 0
