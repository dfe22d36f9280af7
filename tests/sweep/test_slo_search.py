"""The search for the most load within objectives: on made-up servers, sure ones and noisy ones, and in virtual time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from loadstone import results
from loadstone.config import slo as grammar
from loadstone.config.schema import Config
from loadstone.config.slo import Objective
from loadstone.errors import UsageError
from loadstone.metrics.slo import Outcome
from loadstone.stats import distributions
from loadstone.sweep import plan, slo_probe, slo_search, strategies
from loadstone.sweep.run import SweepRun
from loadstone.sweep.settings import Lists
from loadstone.sweep.slo_probe import Probe, Tally
from loadstone.sweep.slo_search import Answer, Range
from loadstone.sweep.slo_search_page import answer
from support import virtual_server
from support.sweeps import sweep_config

RATES = Range(start=1.0, lowest=1 / 1024, highest=1024.0)
SLOTS = Range(start=1.0, lowest=1.0, highest=1000.0, integers=True)
# How a load is called, by the number of times it has been before.
Server = Callable[[float, int], Outcome]


def probed(server: Server, bounds: Range = RATES) -> list[Probe]:
    """A search to its end."""
    calls: dict[float, list[Outcome]] = {}
    while (load := slo_search.next_load(_probes(calls), bounds)) is not None:
        calls.setdefault(load, []).append(server(load, len(calls.get(load, []))))
        assert sum(map(len, calls.values())) < 200
    return _probes(calls)


def _probes(calls: dict[float, list[Outcome]]) -> list[Probe]:
    return [
        Probe(load, seen[-1], len(seen), 100, 1.0, [], confirmed=len(seen) > 1 and seen[-1] == seen[-2] != "unresolved")
        for load, seen in calls.items()
    ]


def sharp(capacity: float) -> Server:
    return lambda load, _: "met" if load <= capacity else "missed"


@pytest.mark.parametrize("capacity", [0.01, 0.3, 1.0, 1.5, 7.3, 100.0, 900.0])
def test_a_sharp_capacity_is_found(capacity: float) -> None:
    found = probed(sharp(capacity))
    answer = slo_search.find_answer(found)
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low <= capacity < answer.high <= answer.low * 1.051
    assert {probe.load for probe in found if probe.confirmed} == {answer.low, answer.high}
    assert slo_search.explain_gap(found) == ""
    assert len(found) <= 2 + abs(math.log2(capacity)) + 7


@pytest.mark.parametrize("capacity", [1, 2, 3, 17, 100, 999])
def test_whole_loads_come_as_near_as_they_can(capacity: int) -> None:
    answer = slo_search.find_answer(probed(sharp(capacity), SLOTS))
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low <= capacity < answer.high
    assert answer.high - answer.low <= max(1, 0.05 * answer.low)


def test_nothing_meets() -> None:
    found = probed(lambda *_: "missed", SLOTS)
    assert slo_search.find_answer(found) == Answer(None, 1.0, [])
    assert slo_search.explain_gap(found) == "not even 1 was met"
    assert [(probe.load, probe.runs) for probe in found] == [(1.0, 2)]


def test_nothing_meets_down_to_the_least_rate() -> None:
    found = probed(lambda *_: "missed", Range(start=4.0, lowest=1.0, highest=64.0))
    assert sorted(probe.load for probe in found) == [1.0, 2.0, 4.0]
    assert slo_search.find_answer(found).low is None


def test_everything_meets_up_to_the_bound() -> None:
    found = probed(lambda *_: "met", Range(start=1.0, lowest=1.0, highest=50.0))
    assert slo_search.find_answer(found) == Answer(50.0, None, [])
    assert slo_search.explain_gap(found) == "50 is the highest load tried"
    assert max(found, key=lambda probe: probe.load).confirmed


def test_a_stretch_that_stays_open_is_inside_the_interval() -> None:
    found = probed(lambda load, _: "met" if load < 9 else "missed" if load > 11 else "unresolved")
    answer = slo_search.find_answer(found)
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low < 9 <= answer.against[0] <= answer.against[-1] <= 11 < answer.high
    assert answer.against[0] / answer.low <= 1.051
    assert answer.high / answer.against[-1] <= 1.051
    assert "stayed unresolved or contradict others" in slo_search.explain_gap(found)


def test_probes_that_contradict_each_other_are_inside_the_interval() -> None:
    """Missed at 4, met at 8, missed at 16: what is sure is below the first and above the last."""
    calls: dict[float, list[Outcome]] = {2.0: ["met"], 4.0: ["missed"], 8.0: ["met"], 16.0: ["missed"]}
    assert slo_search.find_answer(_probes(calls)) == Answer(2.0, 16.0, [4.0, 8.0])


def test_a_second_probe_takes_a_wrong_call_back() -> None:
    """The first call at the capacity's neighbour is wrong, and does not stand."""

    def server(load: float, times: int) -> Outcome:
        return "met" if load <= 10 or (times == 0 and load < 10.5) else "missed"

    answer = slo_search.find_answer(probed(server))
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low <= 10 < answer.high


@pytest.mark.parametrize("seed", range(20))
def test_noisy_calls_leave_the_capacity_inside(seed: int) -> None:
    """A call is wrong the more often, the nearer it is to the capacity; a second one makes up for most."""
    chance = Random(seed)

    def server(load: float, _: int) -> Outcome:
        surely = 1 / (1 + math.exp(-60 * math.log(load / 10)))  # chance to be missed
        drawn = chance.random()
        return "missed" if drawn < surely - 0.1 else "met" if drawn > surely + 0.1 else "unresolved"

    answer = slo_search.find_answer(probed(server))
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low < 10.6
    assert answer.high > 9.4
    assert answer.high / answer.low < 1.5


def test_a_search_ends_after_so_many_loads() -> None:
    found = probed(sharp(300.0), Range(start=1.0, lowest=1.0, highest=1024.0, max_points=4))
    assert [probe.load for probe in found] == [1.0, 2.0, 4.0, 8.0]


def test_the_interval_of_a_share_is_that_of_clopper_and_pearson() -> None:
    """Against scipy.stats.beta.ppf."""
    assert distributions.upper(0.0, 300, 0.05) == pytest.approx(0.00993, abs=1e-5)
    assert distributions.lower(0.0, 300, 0.05) == 0
    assert distributions.upper(1.0, 300, 0.05) == 1
    assert (distributions.lower(0.1, 100, 0.025), distributions.upper(0.1, 100, 0.025)) == (
        pytest.approx(0.04900, abs=1e-5),
        pytest.approx(0.17622, abs=1e-5),
    )


def test_a_share_is_wrongly_called_no_more_often_than_the_risk_says() -> None:
    chance = np.random.default_rng(1)
    counts = chance.binomial(500, 0.02, 4000)
    drawn = list(zip(*np.unique(counts, return_counts=True), strict=True))
    above = sum(times for count, times in drawn if distributions.lower(count / 500, 500, 0.025) > 0.02)
    below = sum(times for count, times in drawn if distributions.upper(count / 500, 500, 0.025) < 0.02)
    assert above <= 0.025 * 4000 * 1.3
    assert below <= 0.025 * 4000 * 1.3


def parse(text: str) -> tuple[Objective, ...]:
    return grammar.parse(text, grammar.SLO)


P99 = parse("ttft.p99<100ms")


def evidence(share: float, count: int, growing: str | None = None, short: str | None = None) -> slo_probe.Evidence:
    return slo_probe.Evidence([Tally(count, share, count)], 10.0, growing, short)


def test_more_of_the_same_decides() -> None:
    few, many = [evidence(0.0, 200)], [evidence(0.0, 200)] * 5
    assert slo_probe.make_probe(1, few, P99, 5).call == "unresolved"
    decided = slo_probe.make_probe(1, many, P99, 5)
    assert (decided.call, decided.runs, decided.requests, decided.seconds) == ("met", 5, 1000, 50.0)
    assert slo_probe.make_probe(1, [evidence(0.2, 200)], P99, 5).call == "missed"


def test_a_second_run_confirms_what_was_called_before() -> None:
    assert not slo_probe.make_probe(1, [evidence(0.2, 200)], P99, 5).confirmed
    assert slo_probe.make_probe(1, [evidence(0.2, 200)] * 2, P99, 5).confirmed
    assert not slo_probe.make_probe(1, [evidence(0.0, 400), evidence(0.0, 800)], P99, 5).confirmed


def test_a_growing_queue_is_a_miss_however_fast_it_still_was() -> None:
    found = slo_probe.make_probe(1, [evidence(0.0, 5000, growing="the queue grew")], P99, 5)
    assert (found.call, found.why) == ("missed", "the queue grew")


def test_a_load_that_did_not_last_is_not_met() -> None:
    found = slo_probe.make_probe(1, [evidence(0.0, 5000, short="too short")], P99, 5)
    assert (found.call, found.why) == ("unresolved", "too short")


def spoiled(share: float, count: int) -> slo_probe.Evidence:
    return msgspec.structs.replace(evidence(share, count), client_doubt="event-loop lag: 14 ms")


def test_what_is_missed_with_an_unfit_client_is_not_the_servers() -> None:
    found = slo_probe.make_probe(1, [spoiled(1.0, 5000)] * 2, P99, 5)
    assert (found.call, found.confirmed, found.unfit, found.requests) == ("unresolved", False, 2, 10_000)
    assert found.why == "in 2 of 2 runs the client was unfit (event-loop lag: 14 ms), and they do not count"
    mixed = slo_probe.make_probe(1, [spoiled(1.0, 5000), evidence(0.0, 5000), spoiled(1.0, 5000)], P99, 5)
    assert (mixed.call, mixed.confirmed, mixed.unfit) == ("met", False, 1)
    assert slo_probe.make_probe(1, [spoiled(1.0, 9), *[evidence(1.0, 5000)] * 2], P99, 5).confirmed


def test_what_is_met_with_an_unfit_client_is_met_but_said() -> None:
    """It makes answers look later than they are, never earlier."""
    found = slo_probe.make_probe(1, [spoiled(0.0, 5000)] * 2, P99, 5)
    assert (found.call, found.confirmed) == ("met", True)
    assert "in 2 of 2 runs the client was unfit (event-loop lag: 14 ms), which makes responses" in (found.why or "")


FAR: list[tuple[list[float], Outcome]] = [
    ([0.5, 0.6, 0.5, 0.6, 0.5], "met"),
    ([0.5, 0.6, 0.5, 0.6, 0.9], "unresolved"),  # a stretch came near
    ([0.1, 0.79, 0.1, 0.1, 0.79], "unresolved"),  # so far apart that a further one may be above
    ([1.5, 1.6, 1.5, 1.6, 1.5], "missed"),
    ([math.inf] * 5, "missed"),
    ([1.5, 1.6, 1.5, 1.6, 1.1], "unresolved"),
    ([0.5] * 4, "unresolved"),
    ([], "unresolved"),
]


@pytest.mark.parametrize(("figures", "judged"), FAR)
def test_stretches_far_from_the_limit(figures: list[float], judged: Outcome) -> None:
    assert slo_probe.judge_by_fifths(figures, 1.0, 0.005) == judged


def test_the_stretches_of_a_run() -> None:
    values = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 20)
    assert slo_probe.percentile_by_fifths(values, 0.95) == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert slo_probe.percentile_by_fifths(values, 0.99) == ()
    values[[3, 7]] = math.inf
    assert slo_probe.percentile_by_fifths(values, 0.95)[0] == math.inf


def test_requests_that_are_alike_are_called_where_none_came_near_the_limit() -> None:
    """Worth 12 independent ones, 400 requests of which none is above the limit do not tell that 5 % are not."""
    objective = parse("tpot.p95<20ms")
    near, away = (Tally(400, 0.0, 12.0, fifths=(at, at, at * 1.1, at, at)) for at in (0.018, 0.012))
    called = {
        tally: slo_probe.judge_load(20.0, [slo_probe.Evidence([tally], 10.0)], objective, looks=1).looks[0]
        for tally in (near, away)
    }
    assert (called[near].call, called[near].far) == ("unresolved", False)
    assert (called[away].call, called[away].far) == ("met", True)


def test_nothing_surely_met_is_not_all_missed() -> None:
    def told(*calls: Outcome) -> str:
        tried = [Probe(load, call, 1, 100, 1.0, []) for load, call in enumerate(calls, 1)]
        outcome = slo_search.SearchOutcome({}, slo_search.find_answer(tried), tried, slo_search.explain_gap(tried))
        return answer(slo_search.SearchResult("concurrency", [], 1.05, [outcome]), outcome)

    assert told("missed", "missed") == "no load that was tried meets them, down to 1 request in flight"
    assert told("unresolved") == (
        "no load that was tried certainly meets them, down to 1 request in flight, which stayed unresolved"
    )


def test_what_the_client_cannot_spoil_counts_all_the_same() -> None:
    """Failures are failures; a queue that grew is not met."""
    both = parse("ttft.p99<100ms error_rate<1%")
    late = slo_probe.Evidence([Tally(500, 1.0, 500), Tally(500, 0.0, 500)], 10.0, client_doubt="CPU")
    good = slo_probe.Evidence([Tally(500, 0.0, 500), Tally(500, 0.0, 500)], 10.0)
    found = slo_probe.make_probe(1, [late, good], both, 2)
    assert (found.call, [look.value for look in found.looks]) == ("met", [0.0, 0.0])
    grew = msgspec.structs.replace(spoiled(0.0, 5000), queue_growth="the queue grew")
    assert slo_probe.make_probe(1, [grew], P99, 5).call == "unresolved"


def test_a_rate_that_was_not_sent_is_not_met(tmp_path: Path) -> None:
    run(tmp_path, rate=50.0, requests=200)
    summary, columns = results.read_summary_and_columns(tmp_path / "run")
    summary.checks["rate_ratio"] = 0.8
    assert slo_probe.read_evidence(columns, summary, P99).inconclusive == "only 80% of the rate was sent"


def test_a_search_ends_where_the_client_does() -> None:
    """Neither more requests nor more load help a client that is not up to it."""
    calls: list[Probe] = [Probe(4, "met", 2, 400, 1.0, [], confirmed=True)]
    assert slo_search.next_load(calls, SLOTS) == 8
    calls.append(Probe(8, "unresolved", 3, 600, 1.0, [], unfit=slo_search.MAX_UNFIT))
    assert slo_search.next_load(calls, SLOTS) is None
    assert slo_search.find_answer(calls) == Answer(4, None, [8])
    assert slo_search.explain_gap(calls) == "8 is the highest load tried, and the client could not keep up at 8"
    assert slo_search.next_load(calls[1:], SLOTS) == 4
    alone = [Probe(1, "unresolved", 3, 600, 1.0, [], unfit=slo_search.MAX_UNFIT)]
    assert slo_search.next_load(alone, SLOTS) is None
    assert slo_search.explain_gap(alone) == "the client could not keep up at 1, which says nothing about the server"


def test_evidence_names_what_the_client_did(tmp_path: Path) -> None:
    run(tmp_path, rate=50.0, requests=200)
    summary, columns = results.read_summary_and_columns(tmp_path / "run")
    assert slo_probe.read_evidence(columns, summary, P99).client_doubt is None
    summary.client.update(loop_lag_mean=0.5, loop_lag_p99=0.9, loop_lag_p999=1.0)
    assert "event-loop lag" in (slo_probe.read_evidence(columns, summary, P99).client_doubt or "")


def run(path: Path, **settings: object) -> slo_probe.Evidence:
    """Evidence of a run in virtual time."""
    slo = parse(str(settings.pop("slo", "ttft.p99<200ms error_rate<1% ttft.mean<100ms")))
    config = dataclasses.replace(Config(url="http://x", output=str(path / "run"), dataset="random"), **settings)
    virtual_server.go()(config)
    summary, columns = results.read_summary_and_columns(path / "run")
    return slo_probe.read_evidence(columns, summary, slo)


def test_what_a_run_below_capacity_says(tmp_path: Path) -> None:
    found = run(tmp_path, rate=50.0, requests=1000)
    assert found.queue_growth is None
    assert found.inconclusive is None
    p99, errors, mean = found.tallies
    assert (p99.count, errors.count, errors.value) == (1000, 1000, 0.0)
    assert p99.value < 0.01
    assert 50 < p99.effective_count <= 1000
    assert mean.error is not None
    assert 0.01 < mean.value < 0.1


def test_above_capacity_the_queue_is_seen_to_grow(tmp_path: Path) -> None:
    """Of two seconds: TTFT has not come to the limit yet."""
    found = run(tmp_path, rate=150.0, requests=300, slo="ttft.p99<10s")
    assert found.queue_growth is not None
    assert slo_probe.make_probe(150, [found], parse("ttft.p99<10s"), 5).call == "missed"


def test_a_run_shorter_than_its_answers_has_shown_nothing(tmp_path: Path) -> None:
    found = run(tmp_path, rate=20.0, requests=5)
    assert found.inconclusive is not None
    assert "a response takes" in found.inconclusive


def test_goodput_is_judged_by_single_requests(tmp_path: Path) -> None:
    found = run(tmp_path, rate=50.0, requests=500, goodput={"ttft": 0.03}, slo="goodput>=99%")
    (wrong,) = found.tallies
    summary, _ = results.read_summary_and_columns(tmp_path / "run")
    assert wrong.value == pytest.approx(1 - (summary.rates["attainment"] or 0))
    assert slo_probe.allowed_fraction(parse("goodput>=99%")[0]) == pytest.approx(0.01)


def test_goodput_has_objectives_of_its_own(tmp_path: Path) -> None:
    """--goodput of the run, which every request meets, does not count."""
    goodput = {"latency": 60.0}
    found = run(tmp_path, rate=50.0, requests=500, goodput=goodput, slo="goodput(ttft<30ms)>=99% goodput>=99%")
    summary = results.read_summary(tmp_path / "run", changes={"goodput": {"ttft": 0.03}})
    own, whole = found.tallies
    assert own.value == pytest.approx(1 - (summary.rates["attainment"] or 0))
    assert (0 < own.value < 1, whole.value) == (True, 0.0)


def test_goodput_that_is_unknown_has_no_value(tmp_path: Path) -> None:
    """Whether a request met an objective is unknown for some: that of --goodput does not stand in for it."""
    run(tmp_path, rate=50.0, requests=200, goodput={"latency": 60.0})
    summary, columns = results.read_summary_and_columns(tmp_path / "run")
    columns.requests.output_tokens[:] = np.nan
    objectives = parse("goodput(tpot<9s)>=9%")
    evidence = slo_probe.read_evidence(columns, summary, objectives)
    (found,) = slo_probe.judge_load(50.0, [evidence], objectives, looks=1).looks
    assert (found.call, found.value, found.objective) == ("unresolved", None, "goodput(tpot<9000ms) >= 9%")


def test_an_answer_that_never_came_is_no_goodput(tmp_path: Path) -> None:
    """Where all of it was reasoning, time to the first answer is not known, which is not the same as short."""
    run(tmp_path, rate=50.0, requests=200, goodput={"ttfat": 1.0})
    summary, columns = results.read_summary_and_columns(tmp_path / "run")
    columns.requests.first_answer[:] = np.nan
    (found,) = slo_probe.read_evidence(columns, summary, parse("goodput>=99%")).tallies
    assert found.value == 1.0


def simulated_search(path: Path, seed: int = 1, **given: Any) -> strategies.SearchResult:
    config = Config(url="http://x", dataset="random", rate=40.0, seed=seed)
    asked = {"slo": "ttft.p90<60ms", "probe_max": 1500, "within": 0.15, "at_most": 200.0, **given}
    course = plan.make_plan(sweep_config(config, **asked), {}, path)
    campaign = SweepRun(path, course.grid, config)
    assert course.slo_search is not None
    assert campaign.run(course.strategy, virtual_server.go()) == "done"
    return course.slo_search.result(campaign.sweep)


# Requests/s up to which the simulated server holds it, by 200,000 arrivals at each of many rates (simulated.waits).
TRUE = 77.6


@pytest.mark.parametrize("slo", ["ttft.p90<60ms", "goodput(ttft<60ms)>=90%"])
def test_a_search_of_the_simulated_server(tmp_path: Path, slo: str) -> None:
    """The small form of tests/bench/search.py."""
    found = simulated_search(tmp_path / "search", slo=slo, probe_max=800, within=0.25)
    assert found.objectives[1] == "error_rate < 1%"
    (outcome,) = found.outcomes
    assert outcome.answer.low is not None
    assert outcome.answer.high is not None
    assert outcome.answer.low < TRUE < outcome.answer.high < 2 * outcome.answer.low
    assert [probe.load for probe in outcome.probes] == sorted(probe.load for probe in outcome.probes)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"slo": "ttft.p99<1s", "auto": "rate"}, {}, "--auto and --slo exclude each other"),
    ({"slo": "ttft.p99<1s"}, {"duration": 5.0}, "--slo and --duration exclude each other"),
    ({"slo": "ttft.p99<1s", "repeat": 3}, {}, "--slo and --repeat exclude each other"),
    ({"slo": "ttft.p99<1s", "search": "concurrency"}, {"rate": 1.0}, "--slo concurrency and --rate exclude each other"),
    ({"slo": "goodput>=99%"}, {}, "needs --goodput"),
    ({"slo": "speed<1s"}, {}, "--slo takes a metric"),
    ({"slo": "ttft.p99<1s", "at_most": 0.5}, {}, "are not in this order"),
    ({"slo": "ttft.p99<1s", "within": 0.0}, {}, "--within takes a number above 0, up to 10, not 0"),
    ({"auto": "concurrency", "search": "rate"}, {}, "--search needs --slo"),
    ({"auto": "concurrency", "at_least": 0.5}, {}, "are not in this order"),
    ({"within": 0.05}, {}, "--within needs --slo or --auto: it is for loads that are found on the way"),
    ({"repeat": 0}, {}, "--repeat takes 1 or more"),
]


@pytest.mark.parametrize(("given", "settings", "said"), REFUSED, ids=[said for *_, said in REFUSED])
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, given: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    config = dataclasses.replace(Config(url="http://x"), **settings)
    with pytest.raises(UsageError) as caught:
        plan.make_plan(sweep_config(config, **given), {}, tmp_path)
    assert said in str(caught.value)


def test_a_search_has_no_list_of_what_it_searches_for(tmp_path: Path) -> None:
    lists: Lists = {"rate": [1, 2]}
    with pytest.raises(UsageError, match="--slo finds its own loads: give --rate one value"):
        plan.make_plan(sweep_config(Config(), slo="ttft.p99<1s"), lists, tmp_path)


def test_which_load_is_searched_for(tmp_path: Path) -> None:
    def field(config: Config, **given: Any) -> object:
        return plan.make_plan(sweep_config(config, slo="ttft.p99<1s", **given), {}, tmp_path).grid.rule["field"]

    assert field(Config()) == "rate"
    assert field(Config(concurrency=4)) == "concurrency"
    assert field(Config(concurrency=4, rate=2.0)) == "rate"
    assert field(Config(), search="concurrency") == "concurrency"
