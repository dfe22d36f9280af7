"""Several runs of one load: what is told of the spread between them, which settings each has, what an end leaves."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from loadstone.cli import main
from loadstone.compare import repeat_runs, repeats
from loadstone.compare.repeats_page import page
from loadstone.config.schema import Config
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.loadtest import Result
from loadstone.report import markdown, terminal
from loadstone.report.page import Table
from loadstone.stats.describe import describe
from loadstone.summary import Counts, Metric, Summary, Verdict
from support.records import run_info
from support.servers import Sim, clean, read_json
from support.time_series import ar1

Capture = pytest.CaptureFixture[str]
CONFIG = Config(url="http://127.0.0.1:1", seed=7)


def summary(metrics: dict[str, Metric] | None = None, *, ended: str = "done", config: dict[str, Any] | None = None,
            rates: dict[str, float | None] | None = None, succeeded: int = 100) -> Summary:  # fmt: skip
    return Summary(
        run=run_info({"ended": ended, "config": config or {"seed": 0}}),
        counts=Counts(100, 100, succeeded, 100 - succeeded, 0, 0, 0, {}),
        duration=1.0, metrics=metrics or {}, rates=rates or {}, sources={}, steady=None, client={}, checks={},
    )  # fmt: skip


def of(values: list[float], half: float | None) -> dict[str, Summary]:
    """Runs whose mean TTFT is as given, each ± half."""
    return {
        str(place): summary(
            {"ttft": Metric("s", 100, mean=value, ci95={"mean": half and (value - half, value + half)})}
        )
        for place, value in enumerate(values, 1)
    }


# The table


def test_by_hand() -> None:
    (figure,) = repeats.table(of([0.1, 0.2, 0.3], 0.196)).figures
    assert (figure.name, figure.unit, figure.values) == ("ttft.mean", "s", [0.1, 0.2, 0.3])
    assert (figure.mean, figure.between) == pytest.approx((0.2, 0.1))
    assert figure.within == pytest.approx(0.1, rel=1e-3)
    half = 4.302652730 * 0.1 / math.sqrt(3)
    assert figure.ci95 == pytest.approx((0.2 - half, 0.2 + half))
    assert figure.remark is None


def test_runs_that_differ_more_than_chance_within_them_are_remarked() -> None:
    (figure,) = repeats.table(of([0.1, 0.2, 0.3], 0.02)).figures
    assert figure.remark == "runs differ 9.8 times as much as chance within a run explains"


def test_what_a_run_does_not_know_of_itself_is_none() -> None:
    (figure,) = repeats.table(of([0.1, 0.2], None)).figures
    assert (figure.within, figure.remark) == (None, None)
    assert figure.ci95 is not None


def test_one_run_has_no_interval() -> None:
    (figure,) = repeats.table(of([0.1], 0.02)).figures
    assert (figure.mean, figure.between, figure.ci95, figure.remark) == (0.1, None, None, None)


def test_a_figure_that_a_run_lacks_is_left_out() -> None:
    runs = {"1": summary(rates={"qps": 5.0, "goodput": None}), "2": summary(rates={"qps": 7.0, "goodput": 1.0})}
    assert [(figure.name, figure.mean) for figure in repeats.table(runs).figures] == [("qps", 6.0)]


@pytest.mark.parametrize("bad", [summary(ended="interrupted"), summary(succeeded=0), summary(ended="errors")])
def test_a_run_that_is_not_whole_is_shown_but_does_not_count(bad: Summary) -> None:
    found = repeats.table({**of([0.1, 0.2], 0.02), "3": bad})
    assert [once.counts for once in found.runs] == [True, True, False]
    assert found.figures[0].values == [0.1, 0.2]
    text = terminal.render_page(page(found, "Repeats"))
    assert "Run 3 did not end as planned and is left out." in text


@pytest.mark.parametrize(("freedom", "value"), [(1, 10.828), (2, 13.816), (4, 18.467), (9, 27.877), (19, 43.820)])
def test_chi_square(freedom: int, value: float) -> None:
    assert repeats.chi_square(freedom) == pytest.approx(value, rel=0.05)


def test_intervals_over_runs_hold_and_remarks_are_rare_where_runs_are_alike() -> None:
    """Five runs of an AR(1) of rho 0.5; the truth is 0 for their mean."""
    held = remarked = 0
    for rows in np.split(ar1(np.random.default_rng(1), 0.5, 1000, 300), 200):
        figure = repeats.table({str(at): summary({"ttft": describe(row, "s")}) for at, row in enumerate(rows)}).figures[
            0
        ]
        assert figure.ci95 is not None
        held += figure.ci95[0] <= 0 <= figure.ci95[1]
        remarked += figure.remark is not None
    assert 0.91 <= held / 200 <= 0.985
    assert remarked <= 3


# The page


def test_the_page_says_first_whether_one_run_is_enough() -> None:
    alike = page(repeats.table(of([0.1, 0.11, 0.105], 0.02)), "R")
    assert (alike.lead.tone, alike.lead.text) == ("good", "3 runs differ by no more than chance within each explains.")
    runs = of([0.1, 0.1, 0.1], 0.1)
    runs["2"] = msgspec.structs.replace(runs["2"], verdict=Verdict("invalid", []))
    spoiled = page(repeats.table(runs), "Repeats")
    assert spoiled.lead.tone == "doubt"
    assert spoiled.lead.text.endswith("Run 2 is invalid: the figures are the client's as much as the server's.")
    apart = page(repeats.table(of([0.1, 0.2, 0.3], 0.02)), "R")
    assert apart.lead.tone == "doubt"
    assert "the intervals of a single run are too narrow for TTFT mean" in apart.lead.text
    unknown = page(repeats.table(of([0.1, 0.2], None)), "R")
    assert unknown.lead.text == "2 runs; how much of their spread is chance is unknown."


def test_what_no_run_knows_and_runs_that_are_not_valid_are_no_good_news() -> None:
    """A TTFT that doubles is not called chance because the gaps alone had intervals."""
    runs = {
        name: replace(
            summary({
                "ttft": Metric("s", 40, mean=value, ci95={"mean": None}),
                "gap": Metric("s", 800, mean=0.007, ci95={"mean": (0.006, 0.008)}),
            }),
            verdict=Verdict("suspect" if name == "2" else "valid", []),
        )
        for name, value in (("1", 0.012), ("2", 0.026), ("3", 0.034))
    }  # fmt: skip
    lead = page(repeats.table(runs), "R").lead
    assert lead.tone == "doubt"
    assert lead.text == (
        "3 runs differ by no more than chance within each explains, where that is known;"
        " for the spread of TTFT it is unknown. Not valid: run 2."
    )


def test_the_page_of_too_few_runs() -> None:
    one = page(repeats.table(of([0.1], 0.02)), "R")
    assert one.lead.text == "There is 1 complete run, so the spread between runs is unknown."
    none = page(repeats.table({"1": summary(ended="interrupted")}), "R")
    assert none.lead.text.startswith(
        "There is no complete run, so the spread between runs is unknown. Run 1 did not end"
    )
    assert [section.title for section in none.sections] == ["Runs"]


def test_the_page_has_a_row_for_each_figure_and_each_run() -> None:
    made = page(repeats.table(of([0.1, 0.2, 0.3], 0.02)), "Repeats: r")
    figures, runs = (block for block in made.blocks if isinstance(block, Table))
    assert figures.rows == [
        [
            "TTFT mean",
            "200.00",
            "248.41",
            "100.00",
            "10.20",
            "runs differ 9.8 times as much as chance within a run explains",
        ]
    ]
    assert [row[0] for row in runs.rows] == ["1", "2", "3"]
    assert "| TTFT mean | 200.00 |" in markdown.draw(made)


# The runs


class Runs:
    """Notes what each run is asked, and leaves a folder behind."""

    def __init__(self, ended: list[str] | None = None, arrivals: str = "poisson") -> None:
        self.asked: list[Config] = []
        self.ended, self.arrivals, self.pauses = ended or ["done"] * 9, arrivals, list[float]()

    def one(self, config: Config) -> Result:
        self.asked.append(config)
        ended = self.ended[len(self.asked) - 1]
        if ended == "gone":
            raise UsageError("no server")
        folder = run_folder.RunFolder(Path(config.output or ""))
        return Result(summary(ended=ended, config={"seed": config.seed, "arrivals": self.arrivals}), folder.path)

    def go(self, path: Path, count: int = 3, **more: Any) -> repeat_runs.RepeatedRuns:
        config = dataclasses.replace(CONFIG, output=str(path / "r"))
        return repeat_runs.run(config, count, self.one, pause=self.pauses.append, **more)


def test_each_run_has_a_folder_a_seed_and_an_order_of_its_own(tmp_path: Path) -> None:
    runs = Runs()
    done = runs.go(tmp_path, rest_s=2.5)
    assert [(Path(one.output or "").name, one.seed, one.shuffle) for one in runs.asked] == [
        ("1", 7, False), ("2", 8, True), ("3", 9, True),
    ]  # fmt: skip
    assert runs.pauses == [2.5, 2.5]
    assert not done.interrupted
    assert [once["name"] for once in read_json(tmp_path / "r" / "repeats.json")["runs"]] == ["1", "2", "3"]


def test_the_same_prompts_if_wanted_and_recorded_times_keep_their_order(tmp_path: Path) -> None:
    same, replayed = Runs(), Runs(arrivals="replay")
    same.go(tmp_path / "a", same_seed=True)
    assert [(one.seed, one.shuffle) for one in same.asked] == [(7, False)] * 3
    replayed.go(tmp_path / "b")
    assert [(one.seed, one.shuffle) for one in replayed.asked] == [(7, False), (8, False), (9, False)]


def test_an_interruption_ends_them_and_keeps_what_is_done(tmp_path: Path) -> None:
    runs = Runs(["done", "interrupted"])
    done = runs.go(tmp_path)
    assert (len(done.results), done.interrupted) == (2, True)
    kept = read_json(tmp_path / "r" / "repeats.json")
    assert [once["counts"] for once in kept["runs"]] == [True, False]


def test_an_interruption_between_two_runs(tmp_path: Path) -> None:
    def pause(_: float) -> None:
        raise KeyboardInterrupt

    runs = Runs()
    config = dataclasses.replace(CONFIG, output=str(tmp_path / "r"))
    done = repeat_runs.run(config, 3, runs.one, pause=pause)
    assert (len(done.results), done.interrupted) == (1, True)
    assert (tmp_path / "r" / "repeats.json").exists()


def test_a_server_that_goes_away_leaves_the_runs_before(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(UsageError, match="no server"):
        Runs(["done", "done", "gone"]).go(tmp_path, notice=told.append)
    assert len(read_json(tmp_path / "r" / "repeats.json")["runs"]) == 2
    assert told[-1] == f"2 of 3 runs are in {tmp_path / 'r'}"


def test_a_server_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no server"):
        Runs(["gone"]).go(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "notes").touch()
    with pytest.raises(UsageError, match="not empty"):
        Runs().go(tmp_path)


def test_what_repeats_are(tmp_path: Path) -> None:
    """A folder of unlike runs is none; one whose command was killed is."""
    for name in ("1", "2"):
        (tmp_path / "r" / name).mkdir(parents=True)
        (tmp_path / "r" / name / "run.json").touch()
    assert repeat_runs.is_repeated(tmp_path / "r")
    assert not repeat_runs.is_repeated(tmp_path / "r" / "1")
    assert not repeat_runs.is_repeated(tmp_path)
    assert not repeat_runs.is_repeated(tmp_path / "nowhere")
    (tmp_path / "r" / "20250101-base").mkdir()
    (tmp_path / "r" / "20250101-base" / "run.json").touch()
    assert not repeat_runs.is_repeated(tmp_path / "r")
    (tmp_path / "r" / "repeats.json").touch()
    assert repeat_runs.is_repeated(tmp_path / "r")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--repeat 1", "--repeat takes 2 or more, not 1"),
        ("--repeat 3 --rest=-1", "--rest: takes a time such as 30, 500ms, 2m or 1h30m, not '-1'"),
        ("--rest 5", "--rest needs --repeat: it is between several runs"),
        ("--same-prompts", "--same-prompts needs --repeat: it is between several runs"),
        ("--repeat 2 --as csv", "--as takes text, md, html, json for repeats, not csv"),
    ],
)
def test_what_is_refused(
    flags: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    clean(monkeypatch, tmp_path)
    assert main.main(["run", "--url", "http://127.0.0.1:1", *flags.split()]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


def test_from_the_command_to_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    clean(monkeypatch, tmp_path)
    with Sim() as sim:
        flags = f"--url {sim.url} --repeat 2 -n 12 -c 4 --output-len 3 --quiet -o r --as json"
        assert main.main(["run", *flags.split()]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == read_json(Path("r/repeats.json"))
    assert [once["seed"] for once in told["runs"]] == [0, 1]
    means = [read_json(Path(f"r/{run}/summary.json"))["metrics"]["ttft"]["mean"] for run in (1, 2)]
    (ttft,) = (figure for figure in told["figures"] if figure["name"] == "ttft.mean")
    assert ttft["values"] == means
    assert main.main(["report", "r", "--as", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == told["figures"]
    assert main.main(["report", "r"]) == 0
    assert "Over the runs" in capsys.readouterr().out
    assert main.main(["report", "r", "--as", "html", "-o", "r.html"]) == 0
    assert "Repeats: r" in Path("r.html").read_text("utf-8")
    assert main.main(["report", "r", "--as", "html", "-o", "r.html"]) == 2


def test_the_worst_status_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean(monkeypatch, tmp_path)
    with Sim("500:1") as sim:
        flags = f"--url {sim.url} --repeat 2 -n 3 -c 1 --output-len 3 --quiet -o r"
        assert main.main(["run", *flags.split()]) == 1
    assert len(read_json(Path("r/repeats.json"))["runs"]) == 2
