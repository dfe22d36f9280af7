"""The ceiling of a machine: the search for it, what is made of it, how it is kept, how runs quote it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.host import ceiling_file, machine, process_usage
from loadstone.host.ceiling import add_share, fraction_used, load_ceiling, peak_rates
from loadstone.host.ceiling_file import Bound, Ceiling, Errors, Level
from loadstone.host.process_usage import Usage
from loadstone.records import Pieces, Record
from loadstone.selftest import ceiling_search, truth
from loadstone.selftest.ceiling_search import CpuUse, LoadStep, UsageSample
from loadstone.selftest.page import tables
from loadstone.summary import CeilingInfo, Counts, Metric, RunInfo, Summary

MS = 1_000_000
IDLE = CpuUse(0.3, 0.0, 0.4, 0.0)
FIGURES = CeilingInfo(events_per_second=100_000.0, requests_beside=800.0, requests_per_second=8_000.0)


@pytest.fixture(autouse=True)
def _own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(machine.VARIABLE, str(tmp_path / "kept" / "ceiling.json"))


def step(streams: int, events: float | None = None, spent: CpuUse = IDLE) -> LoadStep:
    asked = streams * 100.0
    return LoadStep(streams, asked, asked if events is None else events, streams * 0.8, spent)


# the search


@pytest.mark.parametrize(
    ("tried", "held"),
    [
        (step(100), True),
        (step(100, 9_700.0), True),
        (step(100, 9_690.0), False),
        (step(100, spent=CpuUse(0.96, 0.0, 0.96, 0.0)), True),
        (step(100, spent=CpuUse(0.97, 0.0, 0.2, 0.0)), False),
        (step(100, spent=CpuUse(0.5, 0.0, 0.97, 0.0)), False),
        (step(100, spent=CpuUse()), True),
    ],
)
def test_a_step_is_held_at_the_asked_rate_with_cpu_to_spare(tried: LoadStep, held: bool) -> None:
    assert tried.held is held


@pytest.mark.parametrize(
    ("spent", "limit"),
    [
        (CpuUse(0.99, 0.0, 0.5, 0.0), "client"),
        (CpuUse(0.99, 0.0, 0.99, 0.0), "client"),
        (CpuUse(0.6, 0.0, 0.98, 0.0), "server"),
        (CpuUse(0.6, 0.4, 0.5, 0.0), "others"),
        (CpuUse(0.6, 0.0, 0.5, 0.48), "others"),
        (CpuUse(0.6, 0.1, 0.5, 0.0), "unknown"),
        (CpuUse(), "unknown"),
    ],
)
def test_what_kept_a_step_from_more(spent: CpuUse, limit: str) -> None:
    assert ceiling_search.limiting_side(spent) == limit
    assert ceiling_search.request_ceiling(5_000.0, spent).lower is (limit != "client")


def test_the_ceiling_is_the_most_that_was_held_when_the_client_gave_way() -> None:
    steps = [step(300), step(500, 49_800.0), step(700, 60_000.0, CpuUse(0.99, 0.0, 0.7, 0.0))]
    assert ceiling_search.event_ceiling(steps, steps) == Bound(49_800.0, "client", False, 0.3, 0.4)


def test_where_the_server_gave_way_it_is_a_lower_bound() -> None:
    tried = [step(500), step(700, 60_000.0, CpuUse(0.6, 0.0, 0.99, 0.0))]
    bound = ceiling_search.event_ceiling(tried[:1], tried)
    assert bound is not None
    assert (bound.value, bound.limit, bound.lower) == (50_000.0, "server", True)


def test_where_all_was_held_it_is_a_lower_bound_and_where_nothing_was_there_is_none() -> None:
    bound = ceiling_search.event_ceiling([step(500), step(600)], [step(500), step(600)])
    assert bound == Bound(60_000.0, "not reached", True, 0.3, 0.4)
    assert ceiling_search.event_ceiling([step(500, 20_000.0)], []) is None


def test_the_first_estimate_is_the_core_that_would_be_full_first() -> None:
    assert ceiling_search.estimate_ceiling(step(200, 20_000.0, CpuUse(0.2, 0.0, 0.4, 0.0))) == pytest.approx(50_000)
    assert ceiling_search.estimate_ceiling(step(200, 20_000.0, CpuUse(0.4, 0.0, None, None))) == pytest.approx(50_000)
    assert ceiling_search.estimate_ceiling(step(200, 20_000.0, CpuUse())) == pytest.approx(40_000)


def test_stairs_rise_around_the_estimate_and_never_above_what_can_be_open() -> None:
    assert ceiling_search.coarse_steps(50_000, 100, 10_000) == [250, 375, 500, 650, 825, 1050]
    assert ceiling_search.coarse_steps(50_000, 100, 600) == [250, 375, 500, 600]
    assert ceiling_search.coarse_steps(10, 100, 600) == [ceiling_search.LEAST_STREAMS]


@pytest.mark.parametrize(
    ("steps", "numbers"),
    [
        ([step(300), step(500, 40_000.0), step(700, 40_000.0)], [300, 350, 400, 450, 500]),
        ([step(300), step(500)], [550, 650, 800, 1000, 1250]),
        ([step(300, 20_000.0), step(500, 20_000.0)], [51, 101, 150, 200, 250]),
    ],
    ids=["between", "beyond", "below"],
)
def test_finer_stairs(steps: list[LoadStep], numbers: list[int]) -> None:
    assert ceiling_search.finer_steps(steps, steps, 10_000) == numbers


def test_levels_are_shares_of_the_ceiling() -> None:
    assert ceiling_search.error_levels(70_000, 100) == [(0.10, 70), (0.50, 350), (0.80, 560), (0.95, 665)]


def test_cpu_is_interpolated_between_samples() -> None:
    looks = [
        UsageSample(float(at), Usage(0.5 * at, 0.1 * at), [Usage(0.2 * at, 0.0), Usage(0.9 * at, 0.05 * at)])
        for at in range(5)
    ]
    assert ceiling_search.cpu_use(looks, 1.25, 2.75) == CpuUse(*map(pytest.approx, (0.5, 0.1, 0.9, 0.05)))  # type: ignore[arg-type]
    assert ceiling_search.cpu_use(looks, 3.5, 9.0).client == pytest.approx(0.5)
    assert ceiling_search.cpu_use(looks, 7.0, 9.0) == CpuUse()
    assert ceiling_search.cpu_use(looks[:1], 0.0, 1.0) == CpuUse()
    assert ceiling_search.cpu_use([], 0.0, 1.0) == CpuUse()
    assert (
        ceiling_search.cpu_use([UsageSample(0.0, Usage(), [Usage()]), UsageSample(1.0, Usage(), [Usage()])], 0.0, 1.0)
        == CpuUse()
    )


def test_memory_grows_from_the_begin_of_the_run() -> None:
    looks = [UsageSample(at, Usage(memory=size), []) for at, size in ((0.0, 10), (1.0, 50), (2.0, 90), (3.0, 80))]
    assert ceiling_search.memory_growth(looks, 1.5) == 40
    assert ceiling_search.memory_growth(looks, -1.0) == 0
    assert ceiling_search.memory_growth([UsageSample(0.0, Usage(), [])], 1.0) == 0


# shown against true


def record(index: int, sent: int, *times: int, error: Any = None) -> Record:
    """Times in ms since the run began."""
    first = times[0] * MS if times else None
    deltas = [0, *(int(delta) * MS for delta in np.diff(times))] if times else []
    pieces = Pieces(deltas, [1] * len(times)) if times else None
    return Record(
        index=index, prompt="p", scheduled=0, sent=sent * MS, first=first, pieces=pieces, end=10**9, error=error,
        request_id=f"t{index}",
    )  # fmt: skip


def row(index: int, received: int, *sent: int) -> truth.TruthRow:
    times = [at * MS for at in sent]
    return truth.TruthRow(f"t{index}", received * MS, times, times)


def paired(records: list[Record], rows: list[truth.TruthRow]) -> list[truth.Pair]:
    return list(truth.pairs(records, {row.request_id or "": row for row in rows}))


def test_errors_are_shown_minus_true_whatever_the_clocks_say() -> None:
    records = [record(0, 100, 113, 125, 131), record(1, 200, 214, 221, 233)]
    rows = [row(0, 7000, 7010, 7020, 7030), row(1, 7100, 7110, 7120, 7130)]
    found = truth.errors(paired(records, rows), (0.0, 1.0))
    assert (found.requests, found.gaps) == (2, 4)
    assert found.ttft_mean == pytest.approx(0.0035)
    assert found.gap_mean == pytest.approx((18 + 19) / 4000 - 0.010)
    assert (found.ttft_p99, found.gap_p99) == (None, None)


def test_p99_needs_100_samples() -> None:
    records = [record(place, 0, 12, 24) for place in range(100)]
    rows = [row(place, 50, 60, 70) for place in range(100)]
    found = truth.errors(paired(records, rows), (0.0, 1.0))
    assert found.ttft_p99 == pytest.approx(0.002)
    assert found.gap_p99 == pytest.approx(0.002)


def test_only_what_is_in_the_span_counts() -> None:
    found = paired([record(0, 100, 110, 500, 900), record(1, 600, 610)], [row(0, 0, 10, 400, 800), row(1, 500, 510)])
    errors = truth.errors(found, (0.05, 0.55))
    assert (errors.requests, errors.gaps) == (1, 1)
    assert truth.errors([], (0.0, 1.0)) == Errors()


def test_a_request_cut_off_is_compared_as_far_as_both_saw_it() -> None:
    (pair,) = paired([record(0, 0, 12, 22)], [row(0, 0, 10, 20, 30)])
    assert len(pair.shown) == len(pair.true) == 2


def test_requests_without_output_or_unknown_to_the_server_are_left_out() -> None:
    assert paired([record(0, 0), record(1, 0, 5)], [row(0, 0, 1)]) == []


def test_the_rate_of_a_stream_is_what_the_server_plans() -> None:
    rows = [row(0, 0, *range(10, 110, 10)), truth.TruthRow("cut", 0)]
    assert truth.events_per_stream(rows) == pytest.approx(100)
    assert truth.events_per_stream(rows, transit=0.1) == pytest.approx(50)
    assert truth.events_per_stream([]) is None
    assert truth.transit_time(paired([record(0, 0, 15)], [row(0, 0, 10)])) == pytest.approx(0.005)


def test_a_run_began_when_its_first_request_was_received_less_its_sending() -> None:
    assert truth.server_start([record(0, 30), record(1, 20)], [row(1, 5020), row(0, 5031)]) == pytest.approx(5.0)
    assert truth.server_start([], []) is None


def test_events_and_requests_of_a_span() -> None:
    records = [record(0, 100, 110, 120, 130), record(1, 150)]
    assert truth.rate(truth.arrival_times(records), (0.105, 0.125)) == pytest.approx(100)
    assert truth.rate(truth.send_times(records), (0.0, 1.0)) == pytest.approx(2)
    assert len(truth.arrival_times([])) == 0


# what runs make of it


def test_the_share_is_one_at_either_ceiling_and_adds_up_between() -> None:
    assert fraction_used(FIGURES, 100_000, 800) == pytest.approx(1)
    assert fraction_used(FIGURES, 8_000, 8_000) == pytest.approx(1)
    assert fraction_used(FIGURES, 54_000, 4_400) == pytest.approx(1)
    assert fraction_used(FIGURES, 50_000, 400) == pytest.approx(0.5)
    assert fraction_used(FIGURES, 50_000, 400, workers=2) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("figures", "used"),
    [
        ({"events_per_second": 100_000.0}, 0.5),
        ({"events_per_second": 100_000.0, "requests_beside": 800.0, "requests_per_second": None}, 0.5),
        ({"events_per_second": 100_000.0, "requests_beside": -1.0, "requests_per_second": 0.0}, 0.5),
        ({"events_per_second": 100_000.0, "requests_beside": 100_000.0}, None),
        ({"events_per_second": 0.0}, None),
        ({}, None),
    ],
)
def test_figures_that_are_short_of_something(figures: dict[str, Any], used: float | None) -> None:
    found = fraction_used(CeilingInfo(**figures), 50_000, 400)
    assert found == (None if used is None else pytest.approx(used))


def summary(**run: Any) -> Summary:
    packets, tokens = Metric("1", 10, mean=64.0), Metric("tokens", 10, mean=128.0)
    return Summary(
        run=RunInfo(**run), counts=Counts(10, 10, 10, 0, 0, 0, 0, {}), duration=2.0,
        metrics={"packets": packets, "output_tokens": tokens},
        rates={"output_throughput": 100_000.0, "request_rate": 800.0}, sources={}, steady=None, client={}, checks={},
    )  # fmt: skip


def share(**run: Any) -> float | None:
    ceiling = add_share(summary(**run)).run.ceiling
    assert ceiling is not None
    return ceiling.share


def test_a_run_quotes_the_ceiling_saved_with_it() -> None:
    assert peak_rates(summary()) == (50_000.0, 800.0)
    found = share(ceiling=FIGURES)
    assert found == pytest.approx(fraction_used(FIGURES, 50_000, 800))
    assert share(ceiling=FIGURES, workers=[{}, {}]) == pytest.approx((found or 0.0) / 2)


def test_a_run_that_did_more_than_a_lower_bound_has_no_share_of_it() -> None:
    low = msgspec.structs.replace(FIGURES, events_per_second=40_000.0)
    assert (share(ceiling=low) or 0.0) > 1
    assert share(ceiling=msgspec.structs.replace(low, lower_bound=True)) is None


def test_without_a_saved_ceiling_nothing_is_quoted() -> None:
    assert add_share(summary()) == summary()
    without = msgspec.structs.replace(summary(ceiling=FIGURES), rates={}, metrics={})
    assert add_share(without).run.ceiling == FIGURES


# how it is kept


def ceiling(config: Config | None = None, **changes: Any) -> Ceiling:
    config = config or Config()
    found = Ceiling(
        identity=ceiling_file.identity(config.transport, machine.arrival_clock(config)),
        measured_at="2026-01-01T00:00:00+00:00",
        quick=False,
        server="1 on this machine",
        events=Bound(100_000.0, "client", False, 0.96, 0.7),
        beside=800.0,
        requests=Bound(8_000.0, "client", False, 0.99, 0.6),
        streams=Bound(10_000, "more was not tried", True),
        levels=[
            Level(
                share=0.1, streams=100, events=10_000.0, errors=Errors(500, 80_000, 0.0001, 0.0004, 1e-6, 0.0002),
                client_share=0.12, lag_p99=0.0012, status="suspect", doubts=["CPU"],
            )
        ],
    )  # fmt: skip
    return msgspec.structs.replace(found, **changes)


def test_a_ceiling_is_kept_and_found_again() -> None:
    assert load_ceiling(Config()) is None
    assert ceiling_file.saved_ceilings() == ([], None)
    file = ceiling_file.save_ceiling(ceiling())
    assert file == Path(os.environ[machine.VARIABLE])
    assert list(file.parent.iterdir()) == [file]
    assert ceiling_file.saved_ceilings() == ([ceiling()], None)
    found = msgspec.structs.replace(FIGURES, measured_at="2026-01-01T00:00:00+00:00")
    assert load_ceiling(Config()) == found


def test_one_is_kept_for_each_way_of_measuring_and_the_newest_counts() -> None:
    ceiling_file.save_ceiling(ceiling())
    ceiling_file.save_ceiling(ceiling(Config(transport="aiohttp"), events=Bound(20_000.0, "server", True)))
    ceiling_file.save_ceiling(ceiling(events=Bound(90_000.0, "client", False)))
    wire, other = load_ceiling(Config()), load_ceiling(Config(transport="aiohttp"))
    assert wire is not None
    assert other is not None
    assert (wire.events_per_second, wire.lower_bound) == (90_000.0, False)
    assert (other.events_per_second, other.lower_bound) == (20_000.0, True)
    assert len(ceiling_file.saved_ceilings()[0]) == 2


def test_quick_figures_do_not_take_the_place_of_full_ones() -> None:
    quick = ceiling(quick=True, events=Bound(50_000.0, "server", True))
    assert ceiling_file.save_ceiling(quick) is not None
    assert ceiling_file.save_ceiling(ceiling()) is not None
    assert ceiling_file.save_ceiling(quick) is None
    assert ceiling_file.saved_ceilings() == ([ceiling()], None)


@pytest.mark.parametrize("field", ["host", "cpu", "loadstone", "python", "event_loop", "clock"])
def test_that_of_another_machine_or_version_is_not_ours(field: str) -> None:
    ceiling_file.save_ceiling(ceiling(identity=msgspec.structs.replace(ceiling().identity, **{field: "another"})))
    assert load_ceiling(Config()) is None


def test_it_does_not_hold_over_tls() -> None:
    ceiling_file.save_ceiling(ceiling())
    assert load_ceiling(Config(url="http://a")) is not None
    assert load_ceiling(Config(url=["http://a", "https://b"])) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a file of ceilings"),
        (b"\xff\xfe", "is not a file of ceilings"),
        (b'{"ceilings": [{}]}', "is not a file of ceilings"),
        (b'{"ceilings": [], "format": 99}', "is of another version of Loadstone (format 99)"),
    ],
)
def test_a_file_that_cannot_be_read_counts_as_none(content: bytes, said: str) -> None:
    file = machine.ceiling_path()
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    kept, wrong = ceiling_file.saved_ceilings()
    assert kept == []
    assert said in (wrong or "")
    assert load_ceiling(Config()) is None
    ceiling_file.save_ceiling(ceiling())
    assert load_ceiling(Config()) is not None


def test_a_folder_in_its_place_is_a_mistake_of_the_operator(tmp_path: Path) -> None:
    machine.ceiling_path().mkdir(parents=True)
    assert load_ceiling(Config()) is None
    with pytest.raises(UsageError, match=r"cannot write .*name another file in LOADSTONE_CEILING"):
        ceiling_file.save_ceiling(ceiling())
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["ceiling.json"]


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(machine.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert machine.ceiling_path() == Path("/cache/loadstone/ceiling.json")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert machine.ceiling_path() == Path("~/.cache/loadstone/ceiling.json").expanduser()


@pytest.mark.parametrize(
    ("cores", "servers", "client"),
    [(2, [0], [1]), (3, [0], [1, 2]), (4, [0, 1], [2, 3]), (8, [0, 1, 2], [3, 4, 5, 6, 7])],
)
def test_cores_for_servers_and_client(cores: int, servers: list[int], client: list[int]) -> None:
    assert machine.split_cores(range(cores), str) == (servers, client)


def test_threads_of_one_core_stay_together() -> None:
    assert machine.split_cores(range(4), lambda core: core % 2) == ([0, 2], [1, 3])


# tables


def test_the_tables() -> None:
    bounds, levels = tables(ceiling())
    rows = dict(bounds.rows)
    assert rows["events a second"] == "100,000; limit: the client's core, client CPU 96%, server CPU 70%"
    assert rows["streams at once"] == "at least 10,000; limit: more was not tried"
    assert levels.columns[-1] == "check"
    assert levels.rows == [
        ["10%", "100", "10,000", "+0.100", "+0.400", "+0.001", "+0.200", "12%", "1.2", "500", "80,000", "suspect: CPU"]
    ]


def test_a_quick_one_has_no_verdicts() -> None:
    level = msgspec.structs.replace(ceiling().levels[0], status=None, doubts=[], lag_p99=None, errors=Errors(3, 9))
    _, levels = tables(ceiling(levels=[level], requests=None))
    assert "check" not in levels.columns
    assert levels.rows[0][3:] == ["-", "-", "-", "-", "12%", "-", "3", "9"]
    assert "--quick" in levels.note


# other processes


@pytest.mark.parametrize(
    ("text", "value"),
    [("0:01.23", 1.23), (" 12:00\n", 720.0), ("1:00:05", 3605.0), ("2-01:00:00", 176_400.0), ("", None), ("-", None)],
)
def test_times_as_ps_prints_them(text: str, value: float | None) -> None:
    assert process_usage.parse_cputime(text) == value


def test_what_a_process_has_used() -> None:
    mine = process_usage.measure(os.getpid())
    assert mine.cpu is None or mine.cpu > 0
    assert mine.memory is None or mine.memory > 1_000_000
    assert process_usage.measure(2**22 + 1) == Usage()
