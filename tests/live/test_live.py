"""The live display without a terminal: what pulses come to, the lines at several widths, and how they are drawn."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from loadstone.checks.finding import Finding
from loadstone.config.slo import GOODPUT, METRICS
from loadstone.engine.progress_digest import Progress, count_bins, digest_records
from loadstone.live import display
from loadstone.live import terminal as screen
from loadstone.live.checks import SETTLED, RunningChecks
from loadstone.live.history import FIRST_WIDTH, MAX_BUCKETS, Figures, History, MetricHistory
from loadstone.live.lines import ASCII, BLOCKS, Glyphs, Line, crop, doubt, line, panel, sparkline
from loadstone.live.progress import RunProgress
from loadstone.metrics.columns import build
from loadstone.metrics.request_slo import ALL_SLOS, meets, tally
from loadstone.records import Failure, FailureCause, Record, Resource, Usage
from loadstone.results import measure
from loadstone.schedule.plan import DatasetShape, Load, Plan, make_plan
from support import example_run, virtual_time
from support.records import failed, run_info, streamed, whole

S = 1_000_000_000
MS = 1_000_000
LAG = Finding("event-loop lag", "suspect", "9.0 ms of TTFT p99 50.0 ms", "5.0 ms", "stamps of arrivals are late")
FIGURES = Figures(
    elapsed=72.0,
    remaining=108.0,
    fraction=0.4,
    finished=1234,
    expected=5000,
    in_flight=32,
    failed=7,
    qps=103.21,
    tokens_per_second=13210.0,
    ttft_p50=0.103,
    ttft_p99=0.131,
    gap_p50=0.0101,
    gap_p99=0.012,
    stopping=False,
    client_cpu=0.31,
    failures={"timeout": 4, "status": 3, "cancelled": 9},
    slos={"ttft": 0.981, "tpot": None, ALL_SLOS: None},
    doubts=[LAG],
    history=MetricHistory([1e4, 1.3e4, 2e4, None, 1.5e4], [None, 0.1, 0.2, 0.15, 0.1], [8.0, 16.0, 32.0, 32.0, 32.0]),
)


def texts(figures: Figures, width: int, glyphs: Glyphs = BLOCKS) -> list[str]:
    return [row.text for row in panel(figures, width, glyphs)]


def pulse(at: float, **fields: Any) -> Progress:
    return Progress(**{"worker": 0, "at": round(at * S), **fields})


# the lines


def test_the_panel_at_80_columns() -> None:
    assert texts(FIGURES, 80) == [
        "━━━━━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 1:12  1:48 left",
        "requests  1,234 of 5,000 done, 32 in flight, 7 failed (4 timeout, 3 status)",
        "rate      103.2 QPS  13,210 tokens/s  client CPU 31%",
        "so far    TTFT p50 103 p99 131 ms   gap p50 10.1 p99 12 ms",
        "SLOs      - met (ttft 98.1%, tpot -)",
        "tokens/s  ▅▆█ ▆ 15,000, peak 20,000",
        "TTFT ms    ▅█▆▅ 100, peak 200",
        "in flight ▃▅███ 32, peak 32",
        "suspect   event-loop lag: 9.0 ms of TTFT p99 50.0 ms (limit 5.0 ms): stamps of",
        "          arrivals are late",
    ]


def test_the_panel_at_40_columns_and_in_ascii() -> None:
    assert texts(FIGURES, 40, ASCII) == [
        "=========.............. 1:12  1:48 left",
        "requests  1,234 of 5,000 done, 32 in fl",
        "rate      103.2 QPS  13,210 tokens/s  c",
        "so far    TTFT p50 103 p99 131 ms   gap",
        "SLOs      - met (ttft 98.1%, tpot -)",
        "tokens/s  =+# + 15,000, peak 20,000",
        "TTFT ms    =#+= 100, peak 200",
        "in flight -=### 32, peak 32",
        "suspect   event-loop lag: 9.0 ms of",
        "          TTFT p99 50.0 ms (limit ...",
    ]


def test_a_run_that_has_only_begun_has_no_figures() -> None:
    nothing = dict.fromkeys(
        ("remaining", "fraction", "expected", "ttft_p50", "ttft_p99", "gap_p50", "gap_p99", "client_cpu")
    )
    zero = dict.fromkeys(("elapsed", "finished", "in_flight", "failed", "qps", "tokens_per_second"), 0)
    told = texts(Figures(**nothing, **zero, stopping=False), 80)
    assert told[0].endswith(" 0:00")
    assert told[1:] == [
        "requests  0 done, 0 in flight, 0 failed",
        "rate      0.0 QPS  0 tokens/s",
        "so far    TTFT -   gap -",
        "tokens/s  -",
        "TTFT ms   -",
        "in flight -",
    ]


def test_tones_mark_what_is_wrong() -> None:
    tones = {row.text.split()[0]: row.tone for row in panel(FIGURES, 80)}
    assert (tones["requests"], tones["suspect"], tones["rate"]) == ("bad", "doubt", "plain")
    worse = msgspec.structs.replace(FIGURES, doubts=[msgspec.structs.replace(LAG, severity="invalid")])
    assert {row.tone for row in panel(worse, 80) if "lag" in row.text} == {"bad"}


def test_no_more_than_three_doubts() -> None:
    many = msgspec.structs.replace(FIGURES, doubts=[LAG] * 5)
    assert texts(many, 200)[-4:] == [*[texts(FIGURES, 200)[-1]] * 3, "          and 2 more doubts"]


@pytest.mark.parametrize("width", [1, 2, 12, 40, 79, 80, 200])
@pytest.mark.parametrize("advice", ["", "x" * 900, "漢字" * 300, "a\x1b[31m\nb\r\x00"])
def test_no_line_is_as_wide_as_the_terminal(width: int, advice: str) -> None:
    doubts = [msgspec.structs.replace(LAG, advice=advice, what=advice or "x")]
    long = msgspec.structs.replace(
        FIGURES, doubts=doubts, history=MetricHistory([1.0] * MAX_BUCKETS, [None] * MAX_BUCKETS, [0.0] * MAX_BUCKETS)
    )
    for text in texts(long, width):
        assert text.isprintable()
        assert sum(1 + (letter in "漢字") for letter in text) < width


def test_sparklines() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, 3, None, None, 8, 8, 0, 0], 4) == "▃ █▁"
    assert sparkline([0, 0], 8) == "▁▁"
    assert sparkline([], 8) == sparkline([1.0], 0) == ""
    assert len(sparkline([1.0] * 256, 100)) == 86


def test_wide_letters_and_accents() -> None:
    assert crop("漢字x", 3) == "漢"
    assert crop("e\u0301e\u0301e", 2) == "e\u0301e\u0301"


def test_lines_for_a_log() -> None:
    assert line(FIGURES) == (
        "1:12, 1:48 left: 1,234 of 5,000 done, 32 in flight, 7 failed (4 timeout, 3 status), 103.2 QPS, "
        "13,210 tokens/s, TTFT p50 103 p99 131 ms, gap p50 10.1 p99 12 ms, SLOs - met"
    )
    assert doubt(FIGURES, LAG) == (
        "1:12: suspect: event-loop lag: 9.0 ms of TTFT p99 50.0 ms (limit 5.0 ms): stamps of arrivals are late"
    )


# how it went


def test_history_keeps_means_however_long_the_run() -> None:
    history = History()
    for step in range(20_000):
        history.add(step * 0.2, tokens=20, waits=(0.3, 3), in_flight=7)
    course = history.snapshot()
    assert MAX_BUCKETS / 2 <= len(course.tokens) <= MAX_BUCKETS
    assert course.tokens == pytest.approx([100.0] * len(course.tokens))
    assert course.ttft == pytest.approx([0.1] * len(course.tokens))
    assert course.in_flight == [7.0] * len(course.tokens)


def test_history_of_a_run_that_was_silent_for_long() -> None:
    history = History()
    history.add(0.0, 10, (0.0, 0), 1)
    history.add(3 * FIRST_WIDTH, 30, (0.2, 2), 3)
    history.add(4 * FIRST_WIDTH, 0, (0.0, 0), 0)
    course = history.snapshot()
    assert course.tokens == [20.0, None, None, 60.0]
    assert course.ttft == [None, None, None, 0.1]
    history.add(50_000.0, 0, (0.0, 0), 0)
    assert len(history.snapshot().tokens) <= MAX_BUCKETS


# objectives


def test_objectives_are_met_as_the_report_has_it() -> None:
    """Of the example, by every metric that --goodput takes, at its median and at impossible limits."""
    records = example_run.records()
    for name in [name for name, (_, flags) in METRICS.items() if GOODPUT in flags]:
        for limit in (1e-9, 0.01, 0.1, 0.5, 1e9):
            rates = measure(records, {"config": {"goodput": {name: limit}}}).rates
            told = tally([record for record in records if record.phase == "measure"], {name: limit})
            share = told[name][0] / told[name][1] if told[name][1] == 120 else None
            assert share == rates[f"attainment.{name}"], (name, limit)


def test_objectives_together() -> None:
    slos = {"ttft": 0.05, "latency": 0.1}
    records = [streamed(0, 40, 90), streamed(0, 60, 90), failed("timeout", 0, 9), failed("stopped", 0, 9)]
    assert tally(records, slos) == {"ttft": (1, 3), "latency": (2, 3), ALL_SLOS: (1, 3)}
    assert tally(records[3:], slos) == tally([], slos) == {}


@pytest.mark.parametrize(
    ("record", "name", "told"),
    [
        (streamed(0, 10, usage=Usage(1, 1)), "tpot", True),
        (streamed(0, 10, 900, usage=None), "tpot", None),
        (streamed(0, 10, 20, first_answer=None), "ttfat", False),
        (whole(0, 900), "ttft", None),
        (whole(0, 900), "latency", True),
        (streamed(0, 10, 1200), "packet_time", False),
    ],
)
def test_what_a_record_does_not_tell(record: Record, name: str, told: bool | None) -> None:
    assert meets(record, name, 1.0) is told


# doubts so far


def so_far(run: dict[str, Any] | None = None) -> RunningChecks:
    return RunningChecks(run_info(example_run.run() if run is None else run))


def doubts(*pulses: Progress, behind: float = 0.0, run: dict[str, Any] | None = None) -> dict[str, str | None]:
    sums = so_far(run)
    for each in pulses:
        sums.add(each, {})
    last = {each.worker: each for each in pulses}
    return {found.what: found.severity for found in sums.doubts(list(last.values()), behind)}


HEALTHY = {
    "finished": 500,
    "in_flight": 8,
    "tokens": 5000,
    "cpu": 0.1,
    "core_wait": 0.0,
    "loop_lags": count_bins([1e4] * 300),
}
TIMES = {"ttft": count_bins([5e7] * 500), "gap": count_bins([1e7] * 5000), "latency": count_bins([5e8] * 500)}


def test_a_healthy_run_has_no_doubts() -> None:
    assert doubts(pulse(5, **HEALTHY, **TIMES)) == {}


def test_the_names_and_grades_are_those_of_the_check() -> None:
    busy = HEALTHY | {
        "cpu": 0.97,
        "core_wait": 0.3,
        "loop_lags": count_bins([4e7] * 300),
        "send_lags": count_bins([3e7] * 300),
    }
    late = count_bins([6e7] * 500)
    sums = so_far()
    sums.add(pulse(5, **busy, **TIMES), late)
    told = {found.what: found.severity for found in sums.doubts([pulse(5, **busy, **TIMES)], 0.0)}
    assert told["client CPU"] == "invalid"
    assert told["wait for a core"] == "suspect"
    assert told["event-loop lag"] == "invalid"


def test_failures_are_doubted_by_their_share_and_by_what_they_say() -> None:
    files = [(Failure(FailureCause.CONNECT, "no", Resource.OPEN_FILES), 40)]
    told = doubts(pulse(5, **{**HEALTHY, "failed": 40}, **TIMES, failures=files))
    assert told == {"error rate": "suspect", "open files": "invalid"}
    assert doubts(pulse(5, finished=30, failed=30, failures=[(Failure(FailureCause.STATUS, "HTTP 500"), 30)])) == {
        "no success": "invalid"
    }


def test_nothing_is_doubted_before_it_can_be() -> None:
    assert doubts(pulse(SETTLED - 0.1, **HEALTHY | {"cpu": 1.0}, **TIMES)) == {}
    assert doubts(pulse(5, in_flight=8)) == {}, "the first answers are still under way"


def test_sending_that_falls_behind() -> None:
    run = example_run.run() | {"config": {"rate": 100.0}, "schedule": {"loop": "open"}}
    assert doubts(pulse(10, **HEALTHY, **TIMES), behind=0.1, run=run) == {}
    assert doubts(pulse(10, **HEALTHY, **TIMES), behind=3.0, run=run) == {"request rate": "suspect"}


def test_the_worst_of_several_processes_counts() -> None:
    told = doubts(pulse(5, **HEALTHY, **TIMES), pulse(5, worker=1, **HEALTHY | {"cpu": 0.9}, **TIMES))
    assert told == {"client CPU": "suspect"}


def test_what_is_remembered_of_failures_is_bounded() -> None:
    sums = so_far()
    for number in range(300):
        sums.add(pulse(number, failures=[(Failure(FailureCause.SERVER, f"request {number}"), 1)]), {})
    assert len(sums._failures) == 100


# progress


def plan() -> Plan:
    return make_plan(Load(concurrency=8, requests=120, warmup=8), DatasetShape(["p"]))


def test_progress_adds_up_what_the_processes_tell() -> None:
    progress = RunProgress(plan(), None, run_info(example_run.run()))
    for worker in (0, 1):
        progress.add(pulse(0.1, worker=worker, in_flight=4))
    for worker in (0, 1):
        progress.add(
            pulse(
                0.9, worker=worker, finished=10, failed=2, in_flight=3, tokens=500, cpu=0.2 + worker / 10,
                kinds={"timeout": 2}, outcomes=[True] * 2 + [False] * 8, slos={"ttft": (8, 10), "all": (8, 9)}, **TIMES,
            )
        )  # fmt: skip
    figures = progress.figures()
    assert (figures.finished, figures.failed, figures.in_flight) == (20, 4, 6)
    assert figures.expected == 128
    assert figures.client_cpu == pytest.approx(0.3)
    assert figures.failures == {"timeout": 4}
    assert figures.slos == {"ttft": 0.8, "all": None}
    assert figures.ttft_p50 == pytest.approx(0.05, rel=0.02)
    assert figures.history.in_flight == [6.0], "4 and 8 in flight were seen"


def test_a_run_that_is_being_stopped_has_no_time_left_of_its_plan() -> None:
    progress = RunProgress(plan(), None, run_info(example_run.run()))
    progress._began -= 10
    progress.add(pulse(9, finished=64, in_flight=8))
    assert progress.figures().remaining == pytest.approx(10, rel=0.05)
    progress.add(pulse(10, finished=64, in_flight=8, stopping=True))
    told = progress.figures()
    assert (told.remaining, told.stopping) == (None, True)


def test_progress_knows_how_far_sending_is_behind() -> None:
    open_loop = make_plan(Load(rate=10.0, arrivals="constant", requests=100), DatasetShape(["p"]))
    progress = RunProgress(open_loop, None, run_info(example_run.run()))
    assert progress._behind() == 0.0
    progress.add(pulse(5, overdue=20))
    assert progress._behind() == pytest.approx(2.0, abs=0.2)


def test_a_digest_tells_what_the_display_needs() -> None:
    records = [streamed(0, 40, 90), failed("timeout", 0, 9), failed("timeout", 0, 9)]
    told = digest_records(records, 0, 0, S, {"ttft": 0.05})
    assert told.slos == {"ttft": (1, 3), ALL_SLOS: (1, 3)}
    assert told.failures == [(Failure(FailureCause.TIMEOUT, "timeout it was"), 2)]
    assert digest_records([], 0, 0, S).slos == {}
    assert len(build([]).models) == 0


# the terminal


class Terminal(io.StringIO):
    """As much of a terminal as the display uses: lines of text, a cursor, and what has scrolled away."""

    def __init__(self, width: int = 40, height: int = 6) -> None:
        super().__init__()
        self.width, self.height = width, height
        self.rows, self.gone, self.row = [""] * height, list[str](), 0

    @property
    def shown(self) -> list[str]:
        return [row for row in self.rows if row]

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        rest = text
        while rest:
            rest = self._one(rest)
        return len(text)

    def _one(self, text: str) -> str:
        """Do the first thing that `text` says; returns what is left."""
        if text.startswith("\x1b["):
            end = next(place for place, letter in enumerate(text[2:], 2) if letter.isalpha())
            self._escape(text[end], text[2:end])
            return text[end + 1 :]
        if text[0] == "\n":
            self.row += 1
            if self.row == self.height:
                self.gone.append(self.rows.pop(0))
                self.rows.append("")
                self.row -= 1
        elif text[0] != "\r":
            word = text.partition("\n")[0].partition("\x1b")[0]
            assert len(word) < self.width, "it would wrap"
            self.rows[self.row] = word
            return text[len(word) :]
        return text[1:]

    def _escape(self, kind: str, value: str) -> None:
        if kind == "A":
            assert int(value) <= self.row, "above the screen"
            self.row -= int(value)
        elif kind == "J":
            self.rows[self.row :] = [""] * (self.height - self.row)
        elif kind == "K" and value == "2":
            self.rows[self.row] = ""
        elif kind == "H":
            self.row = int(value.partition(";")[0] or 1) - 1
        else:
            assert kind in "Km"


class Drawn(screen.TerminalScreen):
    """A screen on such a terminal."""

    def __init__(self, file: Terminal) -> None:
        super().__init__(file, colour=False)
        self.terminal = file

    @property
    def size(self) -> tuple[int, int]:
        return self.terminal.width, self.terminal.height


def lines(*said: str) -> list[Line]:
    return [Line(text) for text in said]


def test_lines_are_drawn_in_place() -> None:
    terminal = Terminal()
    drawn = Drawn(terminal)
    terminal.write("before\n")
    for said in (("a", "b", "c"), ("d",), ("e", "f")):
        drawn.draw(lines(*said))
        assert terminal.shown == ["before", *said]
    drawn.erase()
    drawn.erase()
    terminal.write("after\n")
    assert terminal.shown == ["before", "after"]


def test_no_more_lines_than_fit() -> None:
    terminal = Terminal(height=4)
    for _ in range(3):
        Drawn(terminal).draw(lines(*"abcdef"))
    drawn = Drawn(terminal)
    for _ in range(3):
        drawn.draw(lines(*"abcdef"))
    assert terminal.shown == ["a", "b", "c"]


def test_after_a_resize_nothing_of_the_old_lines_is_on_the_screen() -> None:
    terminal = Terminal(width=40)
    drawn = Drawn(terminal)
    drawn.draw(lines("x" * 39, "y"))
    terminal.width = 20
    terminal.rows[:4], terminal.row = ["x" * 20, "x" * 19, "y", ""], 3
    drawn.draw(lines("a", "b"))
    assert terminal.shown == ["a", "b"]
    assert terminal.gone[:3] == ["x" * 20, "x" * 19, "y"]
    drawn.draw(lines("c"))
    assert terminal.shown == ["c"]


def test_what_others_write_stays_above(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(screen, "TerminalScreen", Drawn)
    monkeypatch.setattr(sys, "stderr", terminal)
    with screen.open_screen(terminal) as drawn:
        drawn.draw(lines("a", "b"))
        sys.stderr.write("stopping\n")
        drawn.draw(lines("c", "d"))
        assert terminal.shown == ["stopping", "c", "d"]
        assert sys.stderr.isatty()
    assert terminal.shown == ["stopping"]
    assert sys.stderr is terminal


def test_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    screen.TerminalScreen(said, colour=True).draw([Line("x", "bad"), Line("y")])
    assert said.getvalue() == "\x1b[1;31mx\x1b[0m\x1b[K\ny\x1b[K\n\x1b[J"
    monkeypatch.setenv("NO_COLOR", "1")
    assert screen.TerminalScreen(said)._styled(Line("x", "bad")) == "x"


@pytest.mark.parametrize(
    ("encoding", "glyphs"), [("utf-8", BLOCKS), ("ascii", ASCII), ("latin-1", ASCII), ("no such", ASCII)]
)
def test_ascii_where_the_encoding_has_no_blocks(encoding: str, glyphs: Glyphs) -> None:
    class File(io.StringIO):
        @property
        def encoding(self) -> str:
            return given

    given = encoding
    assert screen.glyphs(File()) == glyphs


def test_where_the_display_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert display.is_capable(Terminal(), {"TERM": "xterm"})
    assert not display.is_capable(Terminal(), {"TERM": "dumb"})
    assert not display.is_capable(io.StringIO(), {"TERM": "xterm"})
    monkeypatch.setattr(sys, "platform", "win32")
    assert not display.is_capable(Terminal(), {})
    assert display.is_capable(Terminal(), {"WT_SESSION": "1"})


class Scripted:
    """Figures that change from one look to the next."""

    def __init__(self, figures: Sequence[Figures]) -> None:
        self._figures, self.looks = list(figures), 0

    def figures(self) -> Figures:
        self.looks += 1
        return self._figures[min(self.looks, len(self._figures)) - 1]


def watched(seconds: float, *figures: Figures, terminal: bool = False) -> str:
    """What is written to stderr in so many seconds of virtual time."""

    async def watch() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(display.watch(Scripted(figures)), seconds)  # type: ignore[arg-type]

    said = Terminal(80, 24) if terminal else io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", said)
        patch.setattr(screen, "TerminalScreen", Drawn)
        patch.setenv("TERM", "xterm")
        virtual_time.run(watch())
    return "\n".join(said.shown) if isinstance(said, Terminal) else said.getvalue()


def test_without_a_terminal_new_doubts_are_told_once() -> None:
    fine = msgspec.structs.replace(FIGURES, doubts=[])
    worse = msgspec.structs.replace(FIGURES, doubts=[msgspec.structs.replace(LAG, severity="invalid")])
    told = watched(25.2, fine, FIGURES, FIGURES, fine, FIGURES, worse)
    first = doubt(FIGURES, LAG)
    assert told.splitlines() == [first, first.replace("suspect", "invalid"), line(FIGURES), line(FIGURES)]


def test_on_a_terminal_nothing_is_left_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert watched(3.2, FIGURES, terminal=True) == ""
