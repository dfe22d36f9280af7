"""Counts, means and intervals of scores: published values, planted counts, repeats, clusters, groups."""

from __future__ import annotations

import math

import pytest

from loadstone.evals.scoring import aggregate, groups, intervals
from loadstone.evals.scoring.aggregate import TaskInfo, TaskTally
from loadstone.samples import Estimate, Outcome, Score
from loadstone.stats.distributions import wilson
from loadstone.tasks.spec import Group
from support.eval_items import scored


def row(name: str = "sums") -> TaskInfo:
    return TaskInfo(task=name, title=name, mode="generation", template="t", version=1.0, shots=0,
               headline=("exact_match", "strict"))  # fmt: skip


def tallied(*items: list[Score], name: str = "sums") -> TaskTally:
    found = TaskTally(row(name))
    for scores in items:
        found.add(scores)
    return found


def plain(outcomes: dict[Outcome, int], name: str = "sums") -> TaskTally:
    told = [outcome for outcome, count in outcomes.items() for _ in range(count)]
    return tallied(*([scored(outcome, number)] for number, outcome in enumerate(told)), name=name)


def estimate(values: list[float], clusters: list[str | None] | None = None) -> Estimate:
    found = intervals.estimate(values, clusters)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_that_of_newcombes_table(hits: int, count: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert wilson(hits, count) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(count - hits, count)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_planted_gsm8k() -> None:
    """923 of 1,319, in which 66 failed, 40 were truncated and 26 said nothing."""
    found = plain({"right": 923, "wrong": 264, "failed": 66, "truncated": 40, "unparsed": 26}).result()
    (figure,) = found.figures
    assert found.items == 1319
    assert figure.all.value == 923 / 1319
    assert figure.outcomes == {"right": 923, "wrong": 264, "unparsed": 26, "truncated": 40, "failed": 66}
    assert figure.all.method == "Wilson"
    for end in figure.all.interval or ():
        assert abs(923 / 1319 - end) == pytest.approx(1.959963984540054 * math.sqrt(end * (1 - end) / 1319))
    assert figure.answered is not None
    assert (figure.answered.value, figure.answered.n) == (923 / 1213, 1213)
    share = 923 / 1319
    assert figure.stderr == pytest.approx(math.sqrt(share * (1 - share) / 1318))


def test_nothing_answered_has_no_accuracy_over_the_answered() -> None:
    figure = plain({"failed": 3}).result().figures[0]
    assert figure.answered is None
    assert figure.all.value == 0.0


def test_one_item_has_no_standard_error_but_an_interval() -> None:
    figure = plain({"right": 1}).result().figures[0]
    assert figure.stderr is None
    assert figure.all.stderr is None
    assert figure.all.interval == pytest.approx((0.2065, 1.0), abs=1e-4)


def test_parts_of_right_have_students_interval() -> None:
    found = estimate([0.0, 0.5, 1.0, 0.5])
    error = math.sqrt(0.5 / 3) / 2
    assert found.stderr == pytest.approx(error)
    assert found.method == intervals.STUDENT
    assert found.interval == (0.0, 1.0)
    half = 3.182446 * math.sqrt(0.02 / 3) / 2
    assert estimate([0.4, 0.5, 0.6, 0.5]).interval == pytest.approx((0.5 - half, 0.5 + half), abs=1e-6)


def test_a_cluster_counts_as_it_hangs_together() -> None:
    """By hand: sums away from the mean 0.5 are 1, -1, 0.5 and -0.5, so 4/3 * 2.5 under the root, over 6."""
    found = estimate([1.0, 1.0, 0.0, 0.0, 1.0, 0.0], ["a", "a", "b", "b", None, None])
    assert found.stderr == pytest.approx(math.sqrt(4 / 3 * 2.5) / 6)
    assert found.method == intervals.CLUSTERED


def test_clusters_of_one_are_no_clusters() -> None:
    assert estimate([1.0, 0.0, 1.0], ["a", "b", None]) == estimate([1.0, 0.0, 1.0])


def test_items_that_are_all_alike_are_not_certain() -> None:
    alike = estimate([1.0] * 6, ["a", "a", "a", "b", "b", "b"])
    assert alike.interval == wilson(2, 2)
    assert alike.method == intervals.ALIKE
    assert estimate([0.5, 0.5, 0.5]).interval == wilson(1.5, 3)
    one = estimate([1.0, 0.0], ["a", "a"])
    assert one.interval is None
    assert one.method == "all items share one cluster"


def test_repeats_are_averaged_first() -> None:
    patterns: list[list[Outcome]] = [["right", "right"], ["right", "wrong"], ["wrong", "failed"]]
    found = tallied(*([scored(outcome, number, attempt) for attempt, outcome in enumerate(passes)]
                      for number, passes in enumerate(patterns))).result()  # fmt: skip
    assert (found.items, found.passes) == (3, 2)
    figure = found.figures[0]
    assert (figure.all.value, figure.all.n, figure.all.method) == (0.5, 3, intervals.STUDENT)
    assert figure.answered is not None
    assert figure.answered.value == pytest.approx(0.5)
    assert {name: at.value for name, at in found.at.items()} == pytest.approx(
        {"avg@2": 0.5, "pass@2": 2 / 3, "maj@2": 2 / 3}
    )


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        ([("4", "right"), ("5", "wrong"), ("4", "right")], True),
        ([("5", "wrong"), ("4", "right")], False),
        ([("4", "right"), ("5", "wrong")], True),
        ([(None, "unparsed"), (None, "unparsed"), ("4", "right")], True),
        ([(None, "failed")], False),
    ],
)
def test_the_majority_of_equally_many_is_who_spoke_first(answers: list[tuple[str, Outcome]], right: bool) -> None:
    passes = [scored(outcome, 0, number, extracted=said) for number, (said, outcome) in enumerate(answers)]
    assert aggregate.majority(passes) is right


def test_parts_of_an_item_are_pooled_and_clustered() -> None:
    """IFEval's instructions: lm-eval counts them one by one, but they come from as many answers as there are items."""
    scores = [[scored("right", 0, metrics={"exact_match": 1.0, "each": [1.0, 1.0, 1.0]})],
              [scored("wrong", 1, metrics={"exact_match": 0.0, "each": [0.0]})]]  # fmt: skip
    figure = next(figure for figure in tallied(*scores).result().figures if figure.metric == "each")
    assert (figure.all.value, figure.all.n, figure.stderr) == (0.75, 4, None)
    assert figure.all.stderr == pytest.approx(math.sqrt(2 * (0.75**2 + 0.75**2)) / 4)


GROUPS = [
    Group(name="all", title="All", tasks=("hard", "soft")),
    Group(name="hard", title="Hard", tasks=("a", "b"), column="STEM"),
    Group(name="soft", title="Soft", tasks=("c",), column="Humanities"),
]


def three() -> dict[str, TaskTally]:
    counts: dict[str, dict[Outcome, int]] = {
        "a": {"right": 3, "wrong": 1},
        "b": {"right": 1, "wrong": 1},
        "c": {"right": 1, "wrong": 3, "failed": 1},
    }
    return {name: plain(each, name) for name, each in counts.items()}


def test_groups_have_a_mean_over_items_and_one_over_tasks() -> None:
    whole, hard, _ = groups.group_results(GROUPS, three())
    assert whole.tasks == ["a", "b", "c"]
    assert whole.items == 11
    assert whole.micro.value == pytest.approx(5 / 11)
    assert whole.macro.value == pytest.approx((0.75 + 0.5 + 0.2) / 3)
    assert whole.micro.interval == wilson(5, 11)
    assert whole.answered is not None
    assert whole.answered.value == pytest.approx(5 / 10)
    assert whole.outcomes["failed"] == 1
    assert hard.column == "STEM"
    assert hard.macro.stderr == pytest.approx(math.sqrt(0.25**2 + 0.5**2) / 2)


def test_lm_evals_figure_of_a_group_is_pooled() -> None:
    hard = groups.group_results(GROUPS, three())[1]
    value, error, count = hard.figures["exact_match,strict"]
    assert (value, count) == (pytest.approx(4 / 6), 6)
    assert error == pytest.approx(math.sqrt((3 * 0.25**2 * 4 + 1 * 0.5**2 * 2) / (6 - 2) / 6))


def test_the_leaderboard_row() -> None:
    (row,) = groups.leaderboard(GROUPS, three(), {"all": 50.0})
    assert row.columns == pytest.approx({"STEM": 4 / 6, "Humanities": 0.2})
    assert row.weighted == pytest.approx(5 / 11)
    assert row.mean == pytest.approx((0.75 + 0.5 + 0.2) / 3)
    assert row.target == 0.5
    assert row.delta == pytest.approx(5 / 11 - 0.5)
    assert groups.leaderboard(GROUPS, {}) == []


def test_an_item_that_is_not_judged_is_counted() -> None:
    found = TaskTally(row())
    found.add([], passes=2)
    assert (found.result().items, found.result().passes, found.result().figures) == (1, 2, [])


def test_errors_of_scorers_are_noted() -> None:
    found = tallied([scored("unparsed", 0, note="RecursionError: deep")], [scored("right", 1)])
    assert found.result().notes == {"RecursionError: deep": 1}


def test_bleu_and_rouge_are_no_shares() -> None:
    """Their scale goes to 100, and differences go below 0: no interval ends at 1."""
    values = {"rouge1_max": (20.0, 60.0, 40.0), "bleu_diff": (-3.0, -1.0, -2.0), "rouge1_acc": (1.0, 0.0, 1.0)}
    items = [
        [Score(task="sums", doc_id=number, attempt=0, filter="strict", extracted="", outcome="right",
               metrics={name: column[number] for name, column in values.items()})]
        for number in range(3)
    ]  # fmt: skip
    found = {figure.metric: figure.all for figure in tallied(*items).result().figures}
    assert found["rouge1_max"].value == 40.0
    assert found["rouge1_max"].interval == pytest.approx((40 - 49.68, 40 + 49.68), abs=0.01)  # t 4.3027, 20 / root 3
    assert found["bleu_diff"].interval == pytest.approx((-4.484, 0.484), abs=0.001)
    assert found["rouge1_acc"].method == "Wilson"
    assert estimate([1.0]).interval is not None
    assert intervals.estimate([25.0], bounded=False) == Estimate(value=25.0, n=1)
