"""JUnit XML, which Jenkins, GitLab, GitHub and Azure show as test results: of gates, objectives or a verdict.

A test is met (passed), missed (failed) or unresolved (skipped). The form is the one that all of them accept:
https://github.com/jenkinsci/xunit-plugin, junit-10.xsd.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import quoteattr

from msgspec import Struct

from loadstone.checks.finding import Finding, Severity
from loadstone.checks.rules import examine
from loadstone.metrics.slo import Outcome
from loadstone.summary import Summary

_ELEMENTS: dict[Outcome, str] = {"met": "", "missed": "failure", "unresolved": "skipped"}
_OUTCOMES: dict[Severity | None, Outcome] = {None: "met", "suspect": "unresolved", "invalid": "missed"}
# Characters that XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(Struct, frozen=True):
    """One test. `reason`: the measured values, also if it is met."""

    name: str
    outcome: Outcome
    reason: str = ""


class Suite(Struct, frozen=True):
    """Tests of one kind.

    properties: figures of the same run.
    at: begin, ISO 8601.
    seconds: duration.
    """

    name: str
    cases: Sequence[Case]
    properties: Mapping[str, str] = {}
    at: str | None = None
    seconds: float | None = None


def render(summary: Summary) -> str:
    """Return the document of one run."""
    return draw([of_run(summary)])


def of_run(summary: Summary) -> Suite:
    """Return the checks of a run as tests, and --max-error-rate if it was set."""
    cases = [Case(found.what, _OUTCOMES[found.severity], _reason(found))
             for found in examine(summary)]  # fmt: skip
    cases += _error_rate(summary)
    label = summary.run.config.label
    name = f"loadstone check {label}" if label else "loadstone check"
    metadata = {f"metadata.{name}": value for name, value in summary.run.config.metadata.items()}
    return Suite(name, cases, metadata | _figures(summary), summary.run.began, summary.duration)


def draw(suites: Sequence[Suite]) -> str:
    """Return the document of several suites."""
    cases = [case for suite in suites for case in suite.cases]
    head = _attributes(
        {"name": "loadstone", **{name: _counts(cases)[name] for name in ("tests", "failures", "errors")}}
    )
    return "\n".join(
        ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites{head}>", *map(_suite, suites), "</testsuites>", ""]
    )


def _reason(found: Finding) -> str:
    """Format a finding, with advice unless it passed."""
    advice = found.advice if _OUTCOMES[found.severity] != "met" else ""
    return f"{found.measured} (limit {found.limit})" + (f": {advice}" if advice else "")


def _error_rate(summary: Summary) -> list[Case]:
    """Return the test for --max-error-rate, which decides the exit status of a run, if it was set."""
    most, counts = summary.run.config.max_error_rate, summary.counts
    if most >= 1:
        return []
    reason = f"{counts.failed} of {counts.completed} requests failed (limit {most:g})"
    return [Case("--max-error-rate", "missed" if counts.failed > most * counts.completed else "met", reason)]


def _figures(summary: Summary) -> dict[str, str]:
    """Return the main figures of a run, in base units; unknown ones are left out."""
    c = summary.counts
    figures: dict[str, object] = {"requests": c.completed, "failed": c.failed, **summary.rates}
    figures |= {f"{name}.{point}": getattr(metric, point) for name, metric in summary.metrics.items()
              for point in ("mean", "p50", "p99")}  # fmt: skip
    return {name: f"{value}" for name, value in figures.items() if value is not None}


def _suite(suite: Suite) -> str:
    attributes = {"name": suite.name, **_counts(suite.cases), "timestamp": suite.at and suite.at[:19]}
    attributes["time"] = None if suite.seconds is None else f"{suite.seconds:.3f}"
    properties = [f"<property{_attributes({'name': name, 'value': value})}/>"
                  for name, value in suite.properties.items()]  # fmt: skip
    inner = [*(["<properties>", *properties, "</properties>"] if properties else []),
             *(_case(suite, case) for case in suite.cases)]  # fmt: skip
    return "\n".join([f"<testsuite{_attributes(attributes)}>", *inner, "</testsuite>"])


def _case(suite: Suite, case: Case) -> str:
    begin = f"<testcase{_attributes({'classname': suite.name, 'name': case.name})}"
    element, reason = _ELEMENTS[case.outcome], case.reason or case.outcome
    if element:  # Jenkins shows the message, GitLab the text
        return f"{begin}><{element}{_attributes({'message': reason})}>{_text(reason)}</{element}></testcase>"
    return f"{begin}><system-out>{_text(case.reason)}</system-out></testcase>" if case.reason else f"{begin}/>"


def _counts(cases: Sequence[Case]) -> dict[str, str | None]:
    outcomes = [case.outcome for case in cases]
    counted = {"tests": len(cases), "failures": outcomes.count("missed"), "errors": 0}
    return {name: str(count) for name, count in (counted | {"skipped": outcomes.count("unresolved")}).items()}


def _attributes(values: Mapping[str, str | None]) -> str:
    """Format attributes. Line ends are references, as XML turns them into spaces within an attribute."""
    known = {name: _clean(value) for name, value in values.items() if value is not None}
    quoted = {name: quoteattr(value, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}) for name, value in known.items()}
    return "".join(f" {name}={value}" for name, value in quoted.items())


def _text(text: str) -> str:
    return _clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", text)
