"""Sweeps under way: one folder with a run a point, prompts of their own, failures as rows, going on after a kill."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.config.schema import Config
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.report import markdown
from loadstone.summary import EndReason, Summary
from loadstone.sweep import csv as sweep_csv
from loadstone.sweep import folder, plan, strategies
from loadstone.sweep.fresh_prompts import FreshPrompts
from loadstone.sweep.page import page
from loadstone.sweep.pareto import ParetoPoint, pareto_front
from loadstone.sweep.points import Grid, MeasuredPoint, Sweep, SweepPoint
from loadstone.sweep.run import NextRun, SweepRun, next_grid_run, point_config
from support import virtual_server
from support.sweeps import sweep_config

FILE = "chat-small"
CONFIG = Config(url="http://x", dataset="random", requests=20)
Go = Callable[[Config], Summary]


class Log:
    """Runs in virtual time, and the configurations that were asked for."""

    def __init__(self, fails: Callable[[Config], bool] = lambda _: False, interrupt: int | None = None) -> None:
        self.asked: list[Config] = []
        self._go, self._fails, self._interrupt = virtual_server.go(), fails, interrupt

    def __call__(self, config: Config) -> Summary:
        self.asked.append(config)
        if self._fails(config):
            raise UsageError("no answer from http://x: connection refused")
        summary = self._go(config)
        if len(self.asked) == self._interrupt:
            summary = msgspec.structs.replace(
                summary, run=msgspec.structs.replace(summary.run, ended=EndReason.INTERRUPTED)
            )
            Path(config.output or "", "summary.json").write_bytes(msgspec.json.encode(summary))
        return summary


def campaign(path: Path, lists: dict[str, list[Any]], config: Config = CONFIG, **given: Any) -> SweepRun:
    return SweepRun(path, plan.make_plan(sweep_config(config, **given), lists, path).grid, config)


def folders(path: Path) -> list[str]:
    return sorted(str(file.parent.relative_to(path)) for file in path.rglob("run.json"))


def test_a_sweep_is_a_folder_with_a_run_for_each_point(tmp_path: Path) -> None:
    log = Log()
    assert campaign(tmp_path, {"concurrency": [1, 2], "output_len": [4, 8]}).run(next_grid_run, log) == "done"
    assert [(one.concurrency, one.output_len) for one in log.asked] == [(1, 4), (1, 8), (2, 4), (2, 8)]
    assert folders(tmp_path) == [f"concurrency-{c}_output-len-{n}" for c in (1, 2) for n in (4, 8)]
    read = folder.read_sweep(tmp_path)
    assert read.grid.varied == ["concurrency", "output_len"]
    assert [point.settings for point in read.points][1] == {"concurrency": 1, "output_len": 8}
    assert [len(point.runs) for point in read.points] == [1, 1, 1, 1]
    assert [run_folder.load_run(tmp_path / point.name) for point in read.points] == [
        point.runs[0].run for point in read.points
    ]


def test_repeats_are_runs_beside_each_other(tmp_path: Path) -> None:
    campaign(tmp_path, {"concurrency": [1, 2]}, repeat=2).run(next_grid_run, Log())
    assert folders(tmp_path) == ["concurrency-1/1", "concurrency-1/2", "concurrency-2/1", "concurrency-2/2"]
    assert [len(point.runs) for point in folder.read_sweep(tmp_path).points] == [2, 2]


def test_a_rest_before_each_run_but_the_first(tmp_path: Path) -> None:
    rests: list[int] = []
    log = Log()
    campaign(tmp_path, {"concurrency": [1, 2, 3]}).run(next_grid_run, log, lambda: rests.append(len(log.asked)))
    assert rests == [1, 2]


def test_made_up_prompts_come_from_a_seed_of_their_own(tmp_path: Path) -> None:
    log = Log()
    campaign(tmp_path, {"concurrency": [1, 2]}, repeat=2).run(next_grid_run, log)
    assert [(one.seed, one.skip) for one in log.asked] == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_a_file_goes_on_where_the_run_before_it_stopped(tmp_path: Path) -> None:
    log = Log()
    config = dataclasses.replace(CONFIG, dataset=FILE, warmup=5)
    campaign(tmp_path, {"concurrency": [1, 2, 4]}, config).run(next_grid_run, log)
    assert [(one.seed, one.skip) for one in log.asked] == [(0, 0), (0, 25), (0, 50)]


def test_prompts_of_a_point_are_those_of_no_other(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, dataset=FILE)
    campaign(tmp_path, {"concurrency": [1, 2, 4]}, config).run(next_grid_run, Log())
    used = [{line.split(b'"prompt":"')[1].split(b'"')[0] for line in file.read_bytes().splitlines()}
            for file in tmp_path.rglob("records.jsonl")]  # fmt: skip
    assert [len(prompts) for prompts in used] == [20, 20, 20]
    assert len(set.union(*used)) == 60


def test_a_stock_leaves_alone_what_a_sweep_varies_and_what_has_times() -> None:
    stock = FreshPrompts(5, frozenset({"seed"}))
    assert stock.settings_for("random", generated=True) == {}
    assert stock.settings_for("a.jsonl", generated=False) == {"skip": 0}
    stock.add(Config(dataset="a.jsonl", skip=10, seed=7), 20)
    assert stock.settings_for("a.jsonl", generated=False) == {"skip": 30}
    assert stock.settings_for("b.jsonl", generated=False) == {"skip": 0}
    stock.add(Config(dataset="trace.jsonl", arrivals="replay"), 20)
    assert stock.settings_for("trace.jsonl", generated=False) == {}
    assert FreshPrompts(5).settings_for("random", generated=True) == {"seed": 5}


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    """The point that was cut short is made again; what there was of it is kept."""
    lists: dict[str, list[Any]] = {"concurrency": [1, 2, 4]}
    assert campaign(tmp_path, lists).run(next_grid_run, Log(interrupt=2)) == "interrupted"
    assert [len(point.runs) for point in folder.read_sweep(tmp_path).points] == [1, 0, 0]
    log = Log()
    assert campaign(tmp_path, lists).run(next_grid_run, log) == "done"
    assert [one.concurrency for one in log.asked] == [2, 4]
    assert [one.seed for one in log.asked] == [2, 3]
    assert folders(tmp_path) == ["concurrency-1", "concurrency-2", "concurrency-4", "unfinished/concurrency-2-1"]
    again = Log()
    assert campaign(tmp_path, lists).run(next_grid_run, again) == "done"
    assert again.asked == []


def test_a_sweep_that_was_killed_in_mid_point_goes_on(tmp_path: Path) -> None:
    """run.json and some records, the last cut short, but no summary."""
    lists: dict[str, list[Any]] = {"concurrency": [1, 2]}
    config = dataclasses.replace(CONFIG, dataset=FILE)
    campaign(tmp_path, lists, config, repeat=2).run(next_grid_run, Log())
    killed = tmp_path / "concurrency-2" / "2"
    (killed / "summary.json").unlink()
    records = (killed / "records.jsonl").read_bytes()
    (killed / "records.jsonl").write_bytes(records[: len(records) // 2])
    log = Log()
    campaign(tmp_path, lists, config, repeat=2).run(next_grid_run, log)
    assert [(one.concurrency, one.output) for one in log.asked] == [(2, str(killed))]
    assert 60 < log.asked[0].skip < 80
    assert (tmp_path / "unfinished" / "concurrency-2-2-1" / "records.jsonl").exists()


def test_a_break_between_two_runs_ends_the_sweep(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    made = campaign(tmp_path, {"concurrency": [1, 2]})
    assert made.run(next_grid_run, Log(), stop) == "interrupted"
    assert [len(point.runs) for point in made.sweep.points] == [1, 0]


CHANGES: list[tuple[dict[str, list[Any]], Config, dict[str, Any], str]] = [
    ({"concurrency": [1, 3]}, CONFIG, {}, "(points)"),
    ({"rate": [1, 2]}, CONFIG, {}, "(points)"),
    ({"concurrency": [1, 2]}, dataclasses.replace(CONFIG, output_len=9, requests=30), {}, "(output-len, requests)"),
    ({"concurrency": [1, 2]}, CONFIG, {"repeat": 2}, "(repeat)"),
    ({}, CONFIG, {"auto": "concurrency"}, "(auto or slo)"),
]


def test_a_search_goes_on_with_more_requests_a_probe_but_not_elsewhere(tmp_path: Path) -> None:
    def searched(**given: Any) -> SweepRun:
        slo = {"slo": "ttft.p90<1s", "search": "concurrency", "at_most": 8.0, "probe_max": 50, **given}
        course = plan.make_plan(sweep_config(CONFIG, **slo), {}, tmp_path)
        return SweepRun(tmp_path, course.grid, CONFIG)

    made = searched()
    made.run(lambda sweep: None if sweep.points else NextRun(SweepPoint("concurrency-1", {"concurrency": 1})), Log())
    assert searched(probe_max=5000).sweep.grid.rule["most"] == 5000
    for given, said in (({"at_most": 9.0}, "(at-most)"), ({"slo": "ttft.p90<2s", "within": 0.09}, "(within, slo)")):
        with pytest.raises(UsageError, match=re.escape(said)):
            searched(**given)


@pytest.mark.parametrize(("lists", "config", "given", "said"), CHANGES, ids=[said for *_, said in CHANGES])
def test_other_settings_are_refused(
    tmp_path: Path, lists: dict[str, list[Any]], config: Config, given: dict[str, Any], said: str
) -> None:
    campaign(tmp_path, {"concurrency": [1, 2]}).run(next_grid_run, Log())
    with pytest.raises(UsageError, match="give the same command to go on with it, or another -o") as caught:
        campaign(tmp_path, lists, config, **given)
    assert said in str(caught.value)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not empty"):
        campaign(tmp_path, {"concurrency": [1, 2]})


def test_a_point_that_makes_no_sense_is_refused_before_any_is_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"at concurrency 0: --concurrency takes 1 or more, not 0"):
        campaign(tmp_path / "new", {"concurrency": [1, 0]})
    assert not (tmp_path / "new").exists()


def test_a_point_that_cannot_be_run_is_a_row_with_the_reason(tmp_path: Path) -> None:
    made = campaign(tmp_path, {"concurrency": [1, 2, 4]})
    assert made.run(next_grid_run, Log(fails=lambda config: config.concurrency == 2)) == "done"
    assert [len(point.runs) for point in made.sweep.points] == [1, 0, 1]
    rows = list(csv.DictReader(io.StringIO(sweep_csv.render(made.sweep))))
    assert rows[1]["status"] == "failed: no answer from http://x: connection refused"
    assert rows[1]["ttft_p50"] == ""
    assert "1 could not be run" in page(made.sweep).lead.text
    assert "failed: no answer" in markdown.draw(page(made.sweep))


def test_what_could_not_be_run_is_tried_again(tmp_path: Path) -> None:
    lists: dict[str, list[Any]] = {"concurrency": [1, 2, 4]}
    campaign(tmp_path, lists).run(next_grid_run, Log(fails=lambda config: config.concurrency == 2))
    log = Log()
    made = campaign(tmp_path, lists)
    made.run(next_grid_run, log)
    assert [one.concurrency for one in log.asked] == [2]
    assert [point.failed for point in made.sweep.points] == [None, None, None]


def test_when_nothing_can_be_run_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="connection refused"):
        campaign(tmp_path / "new", {"concurrency": [1, 2]}).run(next_grid_run, Log(fails=lambda _: True))
    assert not (tmp_path / "new").exists()


def test_how_long_a_point_lasts_when_nobody_says() -> None:
    plain = Config(url="http://x")
    assert point_config(plain, {"concurrency": 4}).requests == 100
    assert point_config(plain, {"concurrency": 64}).requests == 640
    assert point_config(plain, {"rate": 50.0}).requests == 1500
    assert point_config(plain, {"rate": 0.5}).requests == 100
    assert point_config(plain, {"temperature": 1.0}).requests is None
    assert point_config(dataclasses.replace(plain, duration=5.0), {"concurrency": 64}).requests is None
    assert point_config(dataclasses.replace(plain, requests=7), {"concurrency": 64}).requests == 7


def test_the_table_of_a_sweep_has_a_row_a_run(tmp_path: Path) -> None:
    made = campaign(tmp_path, {"concurrency": [1, 4]}, repeat=2, gpus=2)
    made.run(next_grid_run, Log())
    rows = list(csv.DictReader(io.StringIO(sweep_csv.render(made.sweep))))
    found = [(row["point"], row["run"], row["concurrency"]) for row in rows]
    assert found == [(f"concurrency-{load}", run, load) for load in "14" for run in "12"]
    one = made.sweep.points[1].runs[0]
    row = rows[2]
    assert float(row["ttft_p50"]) == one.metrics["ttft"].p50
    assert float(row["latency_mean_low"]) == (one.metrics["latency"].ci95["mean"] or (0,))[0]
    assert float(row["qps"]) == one.rates["qps"]
    assert float(row["tokens_per_gpu"]) == pytest.approx((one.rates["output_throughput"] or 0) / 2)
    assert float(row["tokens_per_user"]) == pytest.approx(1 / (one.metrics["tpot"].p50 or 1))
    assert row["verdict"] == (one.verdict.status if one.verdict else "")
    assert {"ttft_p99_high", "tpot_mean_low", "latency_p95", "succeeded", "error_rate", "pareto"} <= row.keys()


def test_the_report_of_a_sweep(tmp_path: Path) -> None:
    made = campaign(tmp_path, {"concurrency": [1, 8, 32], "output_len": [4, 8]})
    made.run(next_grid_run, Log())
    drawn = page(made.sweep)
    assert drawn.lead.text.startswith("6 points; the highest output is ")
    titles = [section.title for section in drawn.sections]
    curves = ["Latency against throughput", "Throughput per user against total throughput", "Over the load"]
    assert titles == ["Points", *curves, "Settings"]
    text = markdown.draw(drawn)
    assert "| concurrency 32, output-len 8 |" in text
    charts = [block for section in drawn.sections for block in section.blocks if hasattr(block, "series")]
    assert [len(chart.series) for chart in charts] == [2, 2, 2, 3, 2], "of so few requests there is no p99"
    assert list(charts[-1].series[0].x) == [1.0, 8.0, 32.0]


def test_a_sweep_of_which_nothing_was_run_has_a_report() -> None:
    grid = Grid(config={}, varied=["concurrency"], places=[])
    empty = Sweep(grid, [MeasuredPoint("concurrency-1", {"concurrency": 1}, [])])
    assert "0 of 1 points were run" in page(empty).lead.text
    assert "not run" in markdown.draw(page(empty))


def test_prompts_that_had_to_repeat_are_told(tmp_path: Path) -> None:
    made = campaign(tmp_path, {"concurrency": [1, 2]}, dataclasses.replace(CONFIG, dataset=FILE))
    made.run(next_grid_run, virtual_server.go(prompts=30))
    assert "they repeat at concurrency 2, and a prefix cache may have helped" in markdown.draw(page(made.sweep))


def test_the_front_is_what_no_other_point_beats() -> None:
    trades = [
        ParetoPoint("a", 100, 10),
        ParetoPoint("b", 50, 40),
        ParetoPoint("c", 60, 30),
        ParetoPoint("d", 40, 40),
        ParetoPoint("e", None, 99),
    ]
    assert [one.name for one in pareto_front(trades)] == ["b", "c", "a"]


def test_the_way_to_the_knee_is_a_sweep_that_goes_on(tmp_path: Path) -> None:
    """Eight seats: beyond eight users there is no more to be had. Interrupted on the way, the same points follow."""
    config = dataclasses.replace(CONFIG, requests=100)

    def begin() -> tuple[SweepRun, strategies.KneeSearch]:
        course = plan.make_plan(sweep_config(config, auto="concurrency", at_most=128), {}, tmp_path)
        assert course.knee_search is not None
        return SweepRun(tmp_path, course.grid, config), course.knee_search

    made, guide = begin()
    assert made.run(guide, Log(interrupt=4)) == "interrupted"
    made, guide = begin()
    assert made.run(guide, Log()) == "done"
    loads = [point.settings["concurrency"] for point in made.sweep.points]
    assert loads == sorted(loads)
    assert {1, 2, 4, 8, 16} <= set(loads)
    assert "the knee is at" in guide.describe(made.sweep).lower()
    assert sum(name.startswith("unfinished") for name in folders(tmp_path)) == 1
    shutil.rmtree(tmp_path / "unfinished")
    assert len(folders(tmp_path)) == len(loads)
