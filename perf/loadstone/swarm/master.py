"""The master's side: a run for each time that Locust starts a test, and its end before Locust is let go on.

Locust's events say when; what is done is in muster.py (before the load), roster.py (meanwhile) and closing.py (after).
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import msgspec
from flask import jsonify, request  # Locust's web interface is a Flask application
from gevent import subprocess
from locust.runners import STATE_INIT, STATE_MISSING, STATE_SPAWNING

from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.host import child_process
from loadstone.live.stop_conditions import StopConditions
from loadstone.server_metrics.process import ScrapeProcess
from loadstone.swarm import messages, settings, startup
from loadstone.swarm.channel import MessageChannel, log
from loadstone.swarm.members import Members
from loadstone.swarm.outcome import LossReason, StopDeadline, reason, tail
from loadstone.swarm.process_messages import Closing, Gone, Made, Order
from loadstone.swarm.settings import sendable, shaped, silence
from loadstone.units import NS_PER_S

WATCH, REMIND, HURRY, STUCK = 0.2, 2.0, 60.0, 30.0


class Run:
    """One test, from Locust's start to its end."""

    def __init__(self, config: Config, silence: float) -> None:
        self.config = config
        self.roster = Members(secrets.token_hex(4), silence, time.monotonic_ns)
        self.parcels = tempfile.TemporaryDirectory(prefix="loadstone-")
        self.made: Made | None = None
        self.asked = time.monotonic()
        self.origin = 0
        self.users = 0
        self.halt: messages.Halt | None = None
        self.watcher: str | None = None
        self.watchers: StopConditions | None = None
        self.lookout: ScrapeProcess | None = None
        self.idle: list[str] = []

    @property
    def begun(self) -> bool:
        return self.origin > 0

    def elapsed(self) -> float:
        """Seconds since the run's time was 0; below 0 before."""
        return (time.monotonic_ns() - self.origin) / NS_PER_S if self.begun else -1.0

    def look_no_more(self) -> None:
        """At the servers' metrics; called again, it does nothing."""
        if self.lookout is not None:
            self.lookout.stop()

    @property
    def over(self) -> bool:
        return self.begun and self.roster.over


class Master:
    """Bound to a Locust master's environment."""

    def __init__(self, environment: Any, config: Config, versions: dict[str, str], view: str) -> None:
        self._environment = environment
        self._config = settings.planned(config, environment.host)
        self._versions = versions
        self._view = view
        self._runs = 0
        self._interrupted = False
        self.run: Run | None = None
        self._post = MessageChannel(environment.runner, self._take)
        self._host = self._config.urls[0] if len(self._config.urls) == 1 else environment.host
        environment.host = self._host
        if environment.web_ui is not None:
            self._guard(environment.web_ui)
        events = environment.events
        events.test_start.add_listener(self._start)
        events.test_stopping.add_listener(self._stopping)
        events.test_stop.add_listener(self._stopped)
        events.quitting.add_listener(self._quitting)

    @property
    def _options(self) -> Any:
        return self._environment.parsed_options

    def _guard(self, web_ui: Any) -> None:
        """Let the web interface start runs against the servers of the plan only: whoever reaches it needs no login."""
        options = self._options
        if not settings.loopback(options.web_host):
            where = options.web_host if options.web_host not in ("", "*") else "all interfaces"
            log.warning(
                "the web interface listens on %s, port %s: whoever reaches it can start and stop runs;"
                " leave out --web-host, or use --headless, unless you trust this network",
                where,
                options.web_port,
            )

        def check() -> Any:
            if request.method == "POST" and request.path.endswith("/swarm"):
                for host in request.form.getlist("host"):
                    try:
                        settings.check_host(self._config, host)
                    except UsageError as exc:
                        log.error("%s", exc)
                        return jsonify({"success": False, "message": str(exc), "host": self._host})
            return None

        web_ui.app.before_request(check)

    def _take(self, name: str, letter: messages.Any_) -> None:
        if self.run is not None and letter.run == self.run.roster.run:
            answer = self.run.roster.hear(name, letter)
            if answer is not None:
                self._post.send(answer, name)
            if isinstance(letter, messages.Note) and self.run.watchers is not None:
                self.run.watchers.add(letter.pulse)

    def has_part(self, name: str) -> bool:
        """Whether a worker takes part in the run that is under way; all may, while there is none."""
        run = self.run
        if run is None or not run.begun or name in run.roster.machines:
            return True
        if name not in run.idle:
            log.warning("%s joined after the run had begun and has no part in it", name)
            run.idle.append(name)
        return False

    # the beginning

    def _start(self, **_: Any) -> None:
        """Locust's users come after this returns. What is not fit ends the start, by what Locust lets through. Its web
        interface has to see a test that is starting, or it would offer to start one."""
        self._environment.runner.update_state(STATE_SPAWNING)
        try:
            self.run = self._mustered()
        except UsageError as exc:
            self._refuse(str(exc))
            raise gevent.GreenletExit from exc
        gevent.spawn(self._watch, self.run)

    def _refuse(self, text: str) -> None:
        log.error("%s", text)
        self._environment.process_exit_code = 2
        self._abandon()
        self._environment.runner.update_state(STATE_INIT)
        if self._options.headless:
            gevent.spawn(self._environment.runner.quit)

    def _abandon(self) -> None:
        """A run that has not begun leaves nothing behind."""
        run, self.run = self.run, None
        if run is None:
            return
        run.look_no_more()
        for machine in run.roster:
            self._post.send(messages.Over(run=run.roster.run, whole=True), machine.name)
        if run.made is not None and not run.begun:
            shutil.rmtree(run.made.folder, ignore_errors=True)

    def _mustered(self) -> Run:
        run = self.run = Run(sendable(self._settings()), silence())
        post, roster = self._post, run.roster
        clients = self._environment.runner.clients
        startup.call(post, roster, [name for name, client in clients.items() if client.state != STATE_MISSING])
        startup.agree(roster, self._versions)
        processes = sum(machine.processes for machine in roster)
        led = not shaped(run.config)
        run.made = startup.plan(Order(config=run.config, processes=processes, led=led, parcels=run.parcels.name))
        startup.assign(roster, run.made)
        startup.each(roster, lambda machine: startup.deliver(post, roster.run, machine, Path(run.parcels.name)))
        startup.each(roster, startup.stand)
        for machine in roster:
            machine.before = startup.compare(post, roster.run, machine)
            if machine.before is None:
                raise UsageError(f"{machine.host} was ready, but answers no more")
        if run.made.quest is not None:
            run.lookout = ScrapeProcess(run.made.quest, subprocess.Popen)
            run.lookout.start()
        run.watchers = StopConditions(run.config, log.warning, lambda reason, _: self._seen(run, reason))
        run.origin = startup.begin(post, roster)
        if run.lookout is not None:
            run.lookout.set_origin(run.origin)
        log.info(
            "%d processes on %d machines begin; results go to %s", run.made.shares, len(list(roster)), run.made.folder
        )
        return run

    def _settings(self) -> Config:
        """The run's settings; a folder that was asked for can hold the first run only."""
        self._runs += 1
        config = self._config
        host, self._environment.host = self._environment.host, self._host
        settings.check_host(config, host if host != self._host else None)
        if config.output and self._runs > 1:
            config = msgspec.structs.replace(config, output=f"{config.output}-{self._runs}")
        return config

    # meanwhile

    def _watch(self, run: Run) -> None:
        """Remind whoever has not heard, and end the test when the plan is over."""
        reminded = 0.0
        while self.run is run:
            gevent.sleep(WATCH)
            run.users = max(run.users, self._environment.runner.user_count)
            now = time.monotonic()
            if now - reminded > REMIND:
                reminded = now
                self._remind(run)
            if run.over and run.halt is None and not shaped(run.config):
                gevent.spawn(self._end)
                return

    def _remind(self, run: Run) -> None:
        for machine in run.roster:
            if not machine.begun and machine.before is not None:
                self._post.send(
                    messages.Begin(run=run.roster.run, origin=machine.before.there(run.origin)), machine.name
                )

    def _seen(self, run: Run, reason: str) -> None:
        """--stop-error-rate or --stop-saturated has seen enough."""
        run.watcher = reason
        gevent.spawn(self._end)

    def _end(self) -> None:
        """What Locust does when its --run-time is over."""
        runner, options = self._environment.runner, self._options
        if options.headless:
            runner.quit()
            return
        runner.stop()
        if options.autostart and options.autoquit >= 0:
            gevent.sleep(options.autoquit)
            runner.quit()
            self._environment.web_ui.stop()

    # the end

    def _quitting(self, **_: Any) -> None:
        """Fired before Locust's own: a run that is still under way then has been interrupted."""
        self._interrupted = self.run is not None and self.run.halt is None
        if self.run is not None and self.run.halt is not None:
            self.run.halt = msgspec.structs.replace(self.run.halt, grace=0.0)
            startup.until(lambda: self.run is None, HURRY)

    def _stopping(self, **_: Any) -> None:
        """Before Locust takes the users away: the processes are told why, so that they end in one way."""
        run = self.run
        if run is None or run.made is None or not run.begun:
            return
        limit = self._options.run_time
        why = LossReason(
            watcher=run.watcher,
            over=run.over,
            endless=run.made.endless,
            interrupted=self._interrupted,
            timed=bool(limit) and time.monotonic() - run.asked >= limit - 1,
        )
        run.halt = messages.Halt(run=run.roster.run, reason=reason(why), grace=run.made.grace)
        self._halt(run, run.halt)

    def _halt(self, run: Run, halt: messages.Halt) -> None:
        for machine in run.roster:
            if not machine.ended:
                self._post.send(halt, machine.name)

    def _stopped(self, **_: Any) -> None:
        """Held until every record is here, or nobody is left to wait for; then the results."""
        run = self.run
        if run is None or run.made is None or run.halt is None:
            self._abandon()
            return
        try:
            self._collect(run)
            run.look_no_more()
            status = self._close(run, run.made)
        finally:
            run.look_no_more()
            self.run = None
            run.parcels.cleanup()
        self._environment.process_exit_code = max(status, self._locusts_code())
        if self._options.headless:
            gevent.spawn(self._environment.runner.quit)

    def _locusts_code(self) -> int:
        runner = self._environment.runner
        return int(self._options.exit_code_on_error) if runner.errors or runner.exceptions else 0

    def _collect(self, run: Run) -> None:
        assert run.halt is not None
        for machine in run.roster:
            if not run.roster.silent(machine):
                machine.after = startup.compare(self._post, run.roster.run, machine)
        patience = StopDeadline(run.halt.grace + STUCK)
        while not run.over and not patience.lost(run.roster.records, time.monotonic()):
            try:
                self._halt(run, run.halt)
                startup.until(lambda: run.over, REMIND)
            except KeyboardInterrupt:
                run.halt = msgspec.structs.replace(run.halt, grace=0.0)
        for machine in run.roster:
            self._post.send(messages.Over(run=run.roster.run, whole=machine.ended), machine.name)

    def _close(self, run: Run, made: Made) -> int:
        """The results, by a process of its own; returns the exit status."""
        assert run.halt is not None
        led = not shaped(run.config)
        because = run.watchers.reason if run.watchers is not None else None
        closing = Closing(
            config=run.config,
            folder=made.folder,
            parcels=run.parcels.name,
            view=self._view,
            gone=list(_gone(run, made, led)),
            tail=tail(run.roster, run.halt.reason, because, run.origin) | ({"idle": run.idle} if run.idle else {}),
            users=run.users if led else None,
        )
        message = msgspec.json.encode(closing)
        return child_process.run("loadstone.swarm.finish", message, run_process=subprocess.run).returncode


def _gone(run: Run, made: Made, led: bool) -> Iterator[Gone]:
    """What did not come: arrivals that were due by now, or what was in flight when the machine was last heard of. Of a
    closed loop, whoever could still say how it ended has written that down itself."""
    now = time.monotonic_ns() - run.origin
    for machine in run.roster:
        for shard in machine.shards:
            if not shard.done and (shard.outcome is None or made.open):
                at = now if made.open else max(0, machine.heard - run.origin)
                slots = machine.slots(shard) if led else None
                yield Gone(engine=shard.engine, at=at, slots=slots, why=f"lost with {machine.host}")
