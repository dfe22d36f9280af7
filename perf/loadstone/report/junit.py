"""JUnit XML, which Jenkins, GitLab, GitHub and Azure show as test results: of gates and objectives, or of a verdict.

A test is met (passed), missed (failed) or unresolved (skipped): what could not be told has neither passed nor failed.
The form is the one they agree on: https://github.com/jenkinsci/xunit-plugin, junit-10.xsd.
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
    """One test. `reason`: what was found, also where it is met."""

    name: str
    outcome: Outcome
    reason: str = ""


class Suite(Struct, frozen=True):
    """Tests of one kind. `properties`: figures that go with them; `at`: when, ISO 8601; `seconds`: how long it took."""

    name: str
    cases: Sequence[Case]
    properties: Mapping[str, str] = {}
    at: str | None = None
    seconds: float | None = None


def render(summary: Summary) -> str:
    """The file for one run."""
    return draw([of_run(summary)])


def of_run(summary: Summary) -> Suite:
    """The verdict of a run: a test for each thing that its check has looked at, and for --max-error-rate."""
    cases = [Case(found.what, _OUTCOMES[found.severity], _reason(found))
             for found in examine(summary)]  # fmt: skip
    cases += _error_rate(summary)
    label = (summary.run.get("config") or {}).get("label")
    name = f"loadstone check {label}" if label else "loadstone check"
    return Suite(name, cases, _figures(summary), summary.run.get("began"), summary.duration)


def draw(suites: Sequence[Suite]) -> str:
    """The document."""
    cases = [case for suite in suites for case in suite.cases]
    head = _attributes(
        {"name": "loadstone", **{name: _counts(cases)[name] for name in ("tests", "failures", "errors")}}
    )
    return "\n".join(
        ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites{head}>", *map(_suite, suites), "</testsuites>", ""]
    )


def _reason(found: Finding) -> str:
    """Where all is well there is nothing to advise."""
    advice = found.advice if _OUTCOMES[found.severity] != "met" else ""
    return f"{found.measured} (limit {found.limit})" + (f": {advice}" if advice else "")


def _error_rate(summary: Summary) -> list[Case]:
    """Where a limit was given: what a run's exit status tells."""
    most, counts = (summary.run.get("config") or {}).get("max_error_rate", 1.0), summary.counts
    if most >= 1:
        return []
    reason = f"{counts.failed} of {counts.completed} requests failed (limit {most:g})"
    return [Case("--max-error-rate", "missed" if counts.failed > most * counts.completed else "met", reason)]


def _figures(summary: Summary) -> dict[str, str]:
    """The figures that a run is known by, in base units; None is left out."""
    c = summary.counts
    found: dict[str, object] = {"requests": c.completed, "failed": c.failed, **summary.rates}
    found |= {f"{name}.{point}": getattr(metric, point) for name, metric in summary.metrics.items()
              for point in ("mean", "p50", "p99")}  # fmt: skip
    return {name: f"{value}" for name, value in found.items() if value is not None}


def _suite(suite: Suite) -> str:
    told = {"name": suite.name, **_counts(suite.cases), "timestamp": suite.at and suite.at[:19]}
    told["time"] = None if suite.seconds is None else f"{suite.seconds:.3f}"
    properties = [f"<property{_attributes({'name': name, 'value': value})}/>"
                  for name, value in suite.properties.items()]  # fmt: skip
    inner = [*(["<properties>", *properties, "</properties>"] if properties else []),
             *(_case(suite, case) for case in suite.cases)]  # fmt: skip
    return "\n".join([f"<testsuite{_attributes(told)}>", *inner, "</testsuite>"])


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


def _attributes(told: Mapping[str, str | None]) -> str:
    """Line ends as references: within an attribute XML makes them spaces."""
    known = {name: _clean(value) for name, value in told.items() if value is not None}
    quoted = {name: quoteattr(value, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}) for name, value in known.items()}
    return "".join(f" {name}={value}" for name, value in quoted.items())


def _text(text: str) -> str:
    return _clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", text)
