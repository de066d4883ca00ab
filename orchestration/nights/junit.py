"""A night as JUnit XML, so that CI systems show it: a suite a corpus, a test for each question.

A test fails where the night refuses the candidate or raises an alarm. What could not be told and
counts as passed is skipped: to show it as passed would claim more than was shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from xml.etree import ElementTree

from orchestration.gate_decision import Comparison, Decision, decision_of, read_decision
from orchestration.nights.notify_config import NotifyConfig
from orchestration.nights.record import CorpusNight, DriftFinding, Night, Scored
from orchestration.report import gate_wording
from orchestration.report.wording import number, plain
from ser_model import storage
from ser_model.metrics.noninferiority import PASS
from ser_model.redaction import redact

State: TypeAlias = Literal["passed", "failed", "skipped"]

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML file may hold, however they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    """A question that was asked on a corpus.

    Attributes:
        part: of the night: gate, drift or scoring.
        name: what was asked.
        state: how it came out.
        kind: of the failure, a word.
        text: a sentence.
    """

    part: str
    name: str
    state: State
    text: str
    kind: str = ""


def write_junit(folder: str, night: Night, config: NotifyConfig) -> str | None:
    """Write the file that the configuration names.

    Args:
        folder: of the night.
        night: what was found.
        config: where it goes.

    Returns:
        Path of the file; None where none is wanted.

    Raises:
        ConfigError: the file of a gate's decision is damaged.
    """
    uri = config.junit_uri(folder)
    if uri is None:
        return None
    gates = {corpus.name: corpus.gate for corpus in night.corpora if corpus.gate is not None}
    decisions = {name: decision_of(read_decision(gate), gate) for name, gate in gates.items()}
    storage.write_atomic(uri, render_junit(night, decisions))
    return uri


def render_junit(night: Night, decisions: Mapping[str, Decision]) -> bytes:
    """Return a night as JUnit XML.

    Args:
        night: what was found.
        decisions: of the gate, by the names of the corpora; those that there are.
    """
    root = ElementTree.Element("testsuites", name=f"serval nightly {_text(night.name)}")
    suites = [_suite(night, corpus, decisions.get(corpus.name)) for corpus in night.corpora]
    for count in ("tests", "failures", "errors"):  # Jenkins' schema knows no others here
        root.set(count, str(sum(int(suite.attrib[count]) for suite in suites)))
    spent = datetime.fromisoformat(night.ended) - datetime.fromisoformat(night.started)
    root.set("time", f"{spent.total_seconds():.3f}")
    root.extend(suites)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _suite(night: Night, corpus: CorpusNight, decision: Decision | None) -> ElementTree.Element:
    tests = [
        *_gate_tests(corpus, decision),
        *map(_drift_test, corpus.drift),
        *map(_scoring_test, corpus.models),
    ]
    states = [test.state for test in tests]
    suite = ElementTree.Element(
        "testsuite",
        name=_text(plain(corpus.name)),
        tests=str(len(tests)),
        failures=str(states.count("failed")),
        errors="0",
        skipped=str(states.count("skipped")),
        timestamp=night.started,
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(night, corpus):
        ElementTree.SubElement(properties, "property", name=name, value=_text(plain(value)))
    suite.extend(_case(corpus, test) for test in tests)
    return suite


def _properties(night: Night, corpus: CorpusNight) -> Iterator[tuple[str, str]]:
    yield "night", night.name
    yield "outcome", night.outcome
    yield "code_version", night.code_version
    for one in corpus.models:
        for field in ("model_uri", "model_version", "weights_sha256", "run", "audit"):
            yield f"{one.role}.{field}", getattr(one, field)
    if corpus.report is not None:
        yield "report", corpus.report
    if corpus.gate is not None:
        yield "gate", corpus.gate


def _gate_tests(corpus: CorpusNight, decision: Decision | None) -> Iterator[_Test]:
    """The decision as a whole, whose name stays when what is asked changes; its comparisons."""
    if corpus.is_accepted is not None:
        yield _Test(
            part="gate",
            name="decision",
            state="passed" if corpus.is_accepted else "failed",
            text=" ".join(corpus.reasons) or (corpus.gate_outcome or ""),
            kind=corpus.gate_outcome or "",
        )
    comparisons: Sequence[Comparison] = () if decision is None else decision.comparisons
    for one in comparisons:
        is_passed = one.outcome == PASS
        yield _Test(
            part="gate",
            name=gate_wording.what(one),
            state="failed" if one.counts_as != PASS else "passed" if is_passed else "skipped",
            text=_passed(one) if is_passed else gate_wording.reason(one),
            kind=one.outcome,
        )


def _passed(one: Comparison) -> str:
    bounds = f"one-sided 95% bounds {number(one.worsening_low)} and {number(one.worsening_high)}"
    return f"Worse by {number(one.worsening)} ({bounds}), margin {number(one.margin)}."


def _drift_test(finding: DriftFinding) -> _Test:
    state: State = "skipped" if finding.value is None else "passed"
    return _Test(
        part="drift",
        name=plain(f"{finding.kind} {finding.subject}".strip()),
        state="failed" if finding.is_alarm else state,
        text=finding.detail,
        kind="alarm",
    )


def _scoring_test(one: Scored) -> _Test:
    """It never fails: a night with more rejections than are allowed ends before it has a file."""
    return _Test(
        part="scoring",
        name=f"rejections of the {one.role}",
        state="passed",
        text=f"{one.num_rejections} of {one.num_segments} segments rejected",
    )


def _case(corpus: CorpusNight, test: _Test) -> ElementTree.Element:
    # CI systems group by what stands before the last dot.
    group = f"serval.{plain(corpus.name)}.{test.part}"
    case = ElementTree.Element("testcase", classname=_text(group), name=_text(test.name), time="0")
    text = _text(test.text)
    if test.state == "failed":
        ElementTree.SubElement(case, "failure", message=text, type=test.kind).text = text
    elif test.state == "skipped":
        ElementTree.SubElement(case, "skipped", message=text)
    else:
        ElementTree.SubElement(case, "system-out").text = text
    return case


def _text(text: str) -> str:
    r"""Return a text as XML can hold it; what it cannot becomes a mark.

    >>> _text("a\x00b\uffff") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    True
    """
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", redact(text))
