"""The master's side of a swarm: a run for each time that Locust starts a test, finished before Locust goes on.

Locust's events call the methods here. The steps before the load are in startup.py, the state of the workers is in
members.py, and finish.py computes the results.
"""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import tempfile
import time
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
from loadstone.summary import EndReason
from loadstone.swarm import messages, outcome, settings, startup
from loadstone.swarm.channel import MessageChannel, log
from loadstone.swarm.members import Members
from loadstone.swarm.process_messages import FinishRequest, LostProcess, PreparedPlan, PrepareRequest

# Seconds between two looks at a run, and after which Start or StopSending is sent again.
POLL_INTERVAL, RESEND_INTERVAL = 0.2, 2.0
# Seconds that Locust waits for the results when it is stopped a second time.
HURRY_TIMEOUT = 60.0
# Seconds without a new record, after the grace, that end the wait for records.
STALL_TIMEOUT = 30.0


class Run:
    """One test, from Locust's start to its end.

    spec_folder: where the specs of the processes are.
    plan: None until the run is prepared.
    requested_at: monotonic seconds when Locust started the test.
    origin: start of the load, ns; 0 before.
    users: highest number of users so far.
    stop: the StopSending message, once the test is being stopped.
    stop_reason: of the stop condition that was met.
    idle: names of workers that joined too late to take part.
    """

    def __init__(self, config: Config, silence: float) -> None:
        self.config = config
        self.members = Members(secrets.token_hex(4), silence, time.monotonic_ns)
        self.spec_folder = tempfile.TemporaryDirectory(prefix="loadstone-")
        self.plan: PreparedPlan | None = None
        self.requested_at = time.monotonic()
        self.origin = 0
        self.users = 0
        self.stop: messages.StopSending | None = None
        self.stop_reason: EndReason | None = None
        self.stop_conditions: StopConditions | None = None
        self.scraper: ScrapeProcess | None = None
        self.idle: list[str] = []

    @property
    def id(self) -> str:
        return self.members.run

    @property
    def started(self) -> bool:
        return self.origin > 0

    @property
    def over(self) -> bool:
        return self.started and self.members.over

    def stop_scraping(self) -> None:
        """Stop collecting the servers' metrics. Further calls do nothing."""
        if self.scraper is not None:
            self.scraper.stop()


class Master:
    """Bound to a Locust master's environment.

    run: the current run, None between two.
    """

    def __init__(self, environment: Any, config: Config, versions: dict[str, str], view: str) -> None:
        self._environment = environment
        self._config = settings.with_host(config, environment.host)
        self._versions = versions
        self._view = view
        self._run_count = 0
        self._interrupted = False
        self.run: Run | None = None
        self._channel = MessageChannel(environment.runner, self._receive)
        self._host = self._config.urls[0] if len(self._config.urls) == 1 else environment.host
        environment.host = self._host
        if environment.web_ui is not None:
            self._guard_web_interface(environment.web_ui)
        events = environment.events
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.test_stop.add_listener(self._on_test_stop)
        events.quitting.add_listener(self._on_quitting)

    @property
    def _options(self) -> Any:
        return self._environment.parsed_options

    def _guard_web_interface(self, web_ui: Any) -> None:
        """Let the web interface, which has no login, start runs only against the servers of the plan."""
        options = self._options
        if not settings.is_loopback(options.web_host):
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

    def _receive(self, name: str, message: messages.AnyMessage) -> None:
        if self.run is not None and message.run == self.run.id:
            answer = self.run.members.receive(name, message)
            if answer is not None:
                self._channel.send(answer, name)
            if isinstance(message, messages.ProgressUpdate) and self.run.stop_conditions is not None:
                self.run.stop_conditions.add(message.progress)

    def is_member(self, name: str) -> bool:
        """Return True if a worker takes part in the current run; all may while no run has started."""
        run = self.run
        if run is None or not run.started or name in run.members.by_name:
            return True
        if name not in run.idle:
            log.warning("%s joined after the run had begun and has no part in it", name)
            run.idle.append(name)
        return False

    # Before the load

    def _on_test_start(self, **_: Any) -> None:
        """Start a run. Locust adds its users after this returns.

        If the run is impossible, GreenletExit ends the start: the one exception that Locust lets through. The state is
        set first, or Locust's web interface would offer to start another test meanwhile.
        """
        self._environment.runner.update_state(STATE_SPAWNING)
        try:
            self.run = self._start_run()
        except UsageError as exc:
            log.error("%s", exc)
            self._environment.process_exit_code = 2
            self._discard_run()
            self._environment.runner.update_state(STATE_INIT)
            if self._options.headless:
                gevent.spawn(self._environment.runner.quit)
            raise gevent.GreenletExit from exc
        gevent.spawn(self._watch, self.run)

    def _discard_run(self) -> None:
        """Remove all traces of a run that has not started."""
        run, self.run = self.run, None
        if run is None:
            return
        run.stop_scraping()
        for member in run.members:
            self._channel.send(messages.RunOver(run=run.id, complete=True), member.name)
        if run.plan is not None and not run.started:
            shutil.rmtree(run.plan.folder, ignore_errors=True)

    def _start_run(self) -> Run:
        """Prepare a run, send it to the workers and start it. Raises UsageError."""
        # Settings: a folder named by --output is the first run's; later ones number it.
        self._run_count += 1
        config = self._config
        host, self._environment.host = self._environment.host, self._host
        settings.check_host(config, host if host != self._host else None)
        if config.output and self._run_count > 1:
            config = dataclasses.replace(config, output=f"{config.output}-{self._run_count}")
        run = self.run = Run(settings.check_sendable(config), settings.silence())
        channel, members = self._channel, run.members

        # Workers
        clients = self._environment.runner.clients
        connected = [name for name, client in clients.items() if client.state != STATE_MISSING]
        startup.invite(channel, members, connected, self._versions)

        # Plan
        run.plan = startup.prepare(
            PrepareRequest(
                config=run.config,
                processes=sum(member.processes for member in members),
                user_driven=not settings.plan_driven(run.config),
                spec_folder=run.spec_folder.name,
            )
        )
        startup.assign_partitions(members, run.plan)
        spec_folder = Path(run.spec_folder.name)
        startup.for_each(members, lambda member: startup.send_plan(channel, run.id, member, spec_folder))
        startup.for_each(members, startup.wait_ready)

        # Clocks
        for member in members:
            member.clock_before = startup.measure_clock(channel, run.id, member)
            if member.clock_before is None:
                raise UsageError(f"{member.host} was ready, but answers no more")

        # Start
        if run.plan.scrape is not None:
            run.scraper = ScrapeProcess(run.plan.scrape, subprocess.Popen)
            run.scraper.start()
        run.stop_conditions = StopConditions(
            run.config, log.warning, lambda reason, _: self._on_stop_condition(run, reason)
        )
        run.origin = startup.start(channel, members)
        if run.scraper is not None:
            run.scraper.set_origin(run.origin)
        log.info(
            "%d processes on %d machines begin; results go to %s",
            run.plan.partitions,
            len(list(members)),
            run.plan.folder,
        )
        return run

    # During the load

    def _watch(self, run: Run) -> None:
        """Send Start again to workers that have not started, and end the test when the plan is over."""
        last_resend = 0.0
        while self.run is run:
            gevent.sleep(POLL_INTERVAL)
            run.users = max(run.users, self._environment.runner.user_count)
            now = time.monotonic()
            if now - last_resend > RESEND_INTERVAL:
                last_resend = now
                for member in run.members:
                    if not member.started and member.clock_before is not None:
                        origin = member.clock_before.to_remote(run.origin)
                        self._channel.send(messages.Start(run=run.id, origin=origin), member.name)
            if run.over and run.stop is None and not settings.plan_driven(run.config):
                gevent.spawn(self._end_test)
                return

    def _on_stop_condition(self, run: Run, reason: EndReason) -> None:
        """End the test: --stop-error-rate or --stop-saturated is met."""
        run.stop_reason = reason
        gevent.spawn(self._end_test)

    def _end_test(self) -> None:
        """Stop the test as Locust does at the end of its --run-time."""
        runner, options = self._environment.runner, self._options
        if options.headless:
            runner.quit()
            return
        runner.stop()
        if options.autostart and options.autoquit >= 0:
            gevent.sleep(options.autoquit)
            runner.quit()
            self._environment.web_ui.stop()

    # After the load

    def _on_quitting(self, **_: Any) -> None:
        """Record that a run which still goes on was interrupted, or cut its grace short if it is being stopped already.

        Locust calls this before its own listener.
        """
        self._interrupted = self.run is not None and self.run.stop is None
        if self.run is not None and self.run.stop is not None:
            self.run.stop = msgspec.structs.replace(self.run.stop, grace=0.0)
            startup.wait_until(lambda: self.run is None, HURRY_TIMEOUT)

    def _on_test_stopping(self, **_: Any) -> None:
        """Stop the processes, with the reason, before Locust removes the users."""
        run = self.run
        if run is None or run.plan is None or not run.started:
            return
        limit = self._options.run_time
        context = outcome.StopContext(
            stop_condition=run.stop_reason,
            over=run.over,
            endless=run.plan.endless,
            interrupted=self._interrupted,
            timed=bool(limit) and time.monotonic() - run.requested_at >= limit - 1,
        )
        run.stop = messages.StopSending(run=run.id, reason=outcome.end_reason(context), grace=run.plan.grace)
        self._send_stop(run, run.stop)

    def _send_stop(self, run: Run, stop: messages.StopSending) -> None:
        for member in run.members:
            if not member.ended:
                self._channel.send(stop, member.name)

    def _on_test_stop(self, **_: Any) -> None:
        """Wait until every record is here, or no member is left to wait for; then compute the results."""
        run = self.run
        if run is None or run.plan is None or run.stop is None:
            self._discard_run()
            return
        try:
            # Clocks: measured once more, for the drift.
            for member in run.members:
                if not run.members.silent(member):
                    member.clock_after = startup.measure_clock(self._channel, run.id, member)
            # Records: Ctrl-C only ends the grace of the requests in flight.
            deadline = outcome.StopDeadline(run.stop.grace + STALL_TIMEOUT)
            while not run.over and not deadline.passed(run.members.record_count, time.monotonic()):
                try:
                    self._send_stop(run, run.stop)
                    startup.wait_until(lambda: run.over, RESEND_INTERVAL)
                except KeyboardInterrupt:
                    run.stop = msgspec.structs.replace(run.stop, grace=0.0)
            for member in run.members:
                self._channel.send(messages.RunOver(run=run.id, complete=member.ended), member.name)
            run.stop_scraping()
            status = self._finish(run, run.plan, run.stop.reason)
        finally:
            run.stop_scraping()
            self.run = None
            run.spec_folder.cleanup()
        runner = self._environment.runner
        locust_status = int(self._options.exit_code_on_error) if runner.errors or runner.exceptions else 0
        self._environment.process_exit_code = max(status, locust_status)
        if self._options.headless:
            gevent.spawn(self._environment.runner.quit)

    def _finish(self, run: Run, plan: PreparedPlan, stop_reason: EndReason) -> int:
        """Run finish.py in a process of its own, which prints the report. Return the exit status."""
        user_driven = not settings.plan_driven(run.config)
        explanation = run.stop_conditions.reason if run.stop_conditions is not None else None
        # Lost requests: in an open loop, the arrivals that were due by now; in a closed loop, what was in flight when
        # the machine was last heard of. A process that could report its end has recorded the latter itself.
        now = time.monotonic_ns() - run.origin
        lost = [
            LostProcess(
                process=shard.process,
                at=now if plan.open else max(0, member.last_seen - run.origin),
                slots=member.slots(shard) if user_driven else None,
                cause=f"lost with {member.host}",
            )
            for member in run.members
            for shard in member.shards
            if not shard.complete and (shard.result is None or plan.open)
        ]
        ending = outcome.run_ending(run.members, stop_reason, explanation, run.origin)
        finish_request = FinishRequest(
            config=run.config,
            folder=plan.folder,
            spec_folder=run.spec_folder.name,
            view=self._view,
            lost_processes=lost,
            ending=ending,
            idle=run.idle,
            users=run.users if user_driven else None,
        )
        message = msgspec.json.encode(finish_request)
        return child_process.run("loadstone.swarm.finish", message, run_process=subprocess.run).returncode
