"""The JUnit file of a night, read back by an XML parser."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from orchestration.gate_decision import DECISION_FILE, Comparison, Decision, Side
from orchestration.nights.junit import render_junit, write_junit
from orchestration.nights.notify_config import NotifyConfig
from orchestration.nights.record import CorpusNight, Night
from ser_model import storage
from ser_model.schema import ConfigError

MakeNight = Callable[..., Night]
MakeCorpus = Callable[..., CorpusNight]

SIDE = Side(
    audit="audits/2",
    inputs_sha256="0" * 64,
    model_version="emotion/2",
    model_uri="models:/emotion/2",
    weights_sha256="ab" * 32,
)


def comparison(target: str, outcome: str, counts_as: str, **changes: object) -> Comparison:
    fields = {
        "kind": "statistic",
        "condition": "clean",
        "slice_by": "",
        "slice": "",
        "metric": "concordance_cc",
        "margin": 0.02,
        "candidate": 0.6,
        "champion": 0.7,
        "worsening": 0.1,
        "worsening_low": 0.05,
        "worsening_high": 0.15,
    }
    return Comparison(
        **(fields | {"target": target, "outcome": outcome, "counts_as": counts_as} | changes)
    )


def decision(*comparisons: Comparison) -> Decision:
    return Decision(candidate=SIDE, champion=SIDE, comparisons=comparisons, config={}, notes=())


DECISION = decision(
    comparison("arousal", "pass", "pass", worsening=-0.01, worsening_low=-0.02, worsening_high=0.0),
    comparison("dominance", "inconclusive", "fail"),
    comparison("valence", "fail", "fail"),
    comparison(
        "valence",
        "inconclusive",
        "pass",
        kind="gap",
        metric="concordance_cc_gap",
        slice_by="sex",
        slice="sex=female-male",
    ),
)


# What Jenkins' xUnit plugin takes, which checks files by a schema (junit-10.xsd); others take more.
ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "timestamp"},
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time"},
    "failure": {"message", "type"},
    "skipped": {"message"},
}


def parse(data: bytes) -> ElementTree.Element:
    """Read a file as CI systems do, and make sure of the shape that they agree on."""
    root = ElementTree.fromstring(data)
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) == ATTRIBUTES.get(element.tag, set())
    for suite in root:
        cases = suite.findall("testcase")
        assert [child.tag for child in suite] == ["properties", *("testcase" for _ in cases)]
        for case in cases:
            assert [child.tag for child in case] in (["failure"], ["skipped"], ["system-out"])
        counts = {
            "tests": len(cases),
            "failures": len(suite.findall("testcase/failure")),
            "errors": 0,
            "skipped": len(suite.findall("testcase/skipped")),
        }
        assert {name: int(suite.attrib[name]) for name in counts} == counts
    for name in ("tests", "failures", "errors"):
        assert int(root.attrib[name]) == sum(int(suite.attrib[name]) for suite in root)
    return root


def states(root: ElementTree.Element) -> Mapping[str, str]:
    cases = {
        f"{case.attrib['classname']}: {case.attrib['name']}": case[0].tag
        for case in root.iter("testcase")
    }
    assert len(cases) == len(root.findall(".//testcase"))
    return cases


def test_every_question_of_a_night_is_a_test(make_night: MakeNight) -> None:
    root = parse(render_junit(make_night(), {"podcast": DECISION}))
    assert states(root) == {
        "serval.podcast.gate: decision": "failure",
        "serval.podcast.gate: CCC arousal, clean": "system-out",
        "serval.podcast.gate: CCC dominance, clean": "failure",
        "serval.podcast.gate: CCC valence, clean": "failure",
        "serval.podcast.gate: CCC gap valence, clean sex=female-male": "skipped",
        "serval.podcast.drift: jensen_shannon_divergence arousal": "failure",
        "serval.podcast.drift: rejected_share": "system-out",
        "serval.podcast.drift: population_stability_index accent": "skipped",
        "serval.podcast.scoring: rejections of the candidate": "system-out",
        "serval.podcast.scoring: rejections of the champion": "system-out",
    }
    assert root.attrib["name"] == "serval nightly 2026-11-21"
    assert root.attrib["time"] == "1800.000"
    assert root[0].attrib["timestamp"] == "2026-11-21T02:00:00+00:00"


def test_a_failure_says_why(make_night: MakeNight) -> None:
    root = parse(render_junit(make_night(), {"podcast": DECISION}))
    failures = {case.attrib["name"]: case[0] for case in root.iter("testcase")}
    valence = failures["CCC valence, clean"]
    assert valence.attrib["type"] == "fail"
    assert valence.attrib["message"] == valence.text
    assert valence.text.startswith("CCC valence, clean: worse by .100")
    assert "shown to be worse by more than the margin of .020" in valence.text
    assert failures["CCC dominance, clean"].attrib["type"] == "inconclusive"
    assert "not shown to be worse by less" in failures["CCC dominance, clean"].text
    gap = failures["CCC gap valence, clean sex=female-male"]
    assert "not shown to be wider by less" in gap.attrib["message"]
    assert failures["decision"].text == "CCC valence, clean: worse by .100, shown to be worse."
    drift = failures["jensen_shannon_divergence arousal"]
    assert drift.text == "arousal is distributed otherwise than in 7 nights"
    assert failures["rejections of the candidate"].text == "3 of 1200 segments rejected"
    minus = "\N{MINUS SIGN}"
    assert failures["CCC arousal, clean"].text == (
        f"Worse by {minus}.010 (one-sided 95% bounds {minus}.020 and .000), margin .020."
    )


def test_the_properties_name_the_models(make_night: MakeNight) -> None:
    root = parse(render_junit(make_night(), {}))
    properties = {one.attrib["name"]: one.attrib["value"] for one in root.iter("property")}
    assert properties["candidate.model_version"] == "emotion/2"
    assert properties["champion.model_uri"] == "models:/emotion/1"
    assert properties["candidate.weights_sha256"] == "ab" * 32
    assert properties["outcome"] == "refused"
    assert properties["report"].endswith("report.html")


@pytest.mark.parametrize("is_accepted", [True, False, None])
def test_a_corpus_fails_as_the_night_says(
    make_night: MakeNight, make_corpus: MakeCorpus, is_accepted: bool | None
) -> None:
    corpus = make_corpus(is_accepted=is_accepted, reasons=(), gate_outcome=None, drift=())
    root = parse(render_junit(make_night(corpora=(corpus,)), {}))
    assert int(root.attrib["failures"]) == (is_accepted is False)
    assert ("serval.podcast.gate: decision" in states(root)) == (is_accepted is not None)


def test_each_corpus_has_its_own_decision(make_night: MakeNight, make_corpus: MakeCorpus) -> None:
    corpora = tuple(
        make_corpus(name=name, is_accepted=None, drift=(), models=()) for name in ("a", "b")
    )
    passed = decision(comparison("arousal", "pass", "pass"))
    failed = decision(comparison("arousal", "fail", "fail"))
    root = parse(render_junit(make_night(corpora=corpora), {"b": failed, "a": passed}))
    assert [(suite.attrib["name"], suite.attrib["failures"]) for suite in root] == [
        ("a", "0"),
        ("b", "1"),
    ]


@pytest.mark.parametrize(
    "odd",
    ["a\x00b", "]]>", "<a & 'b' \"c\">", "\ud800", "\ufffe\uffff", "a\nb", "\x1b[31m", "日本"],
)
def test_any_name_is_well_formed(make_night: MakeNight, make_corpus: MakeCorpus, odd: str) -> None:
    drift = tuple(replace(one, subject=odd, detail=odd) for one in make_corpus().drift)
    corpus = make_corpus(name=odd, reasons=(odd,), report=odd, drift=drift)
    decisions = {odd: decision(comparison(odd, "fail", "fail", slice_by="accent", slice=odd))}
    data = render_junit(make_night(name=odd, corpora=(corpus,)), decisions)
    root = parse(data)
    if re.fullmatch("[\x20-\x7e]+", odd):
        assert root[0].attrib["name"] == odd
    assert b"\x00" not in data
    assert len(states(root)) == 7


def test_no_secret_of_a_uri_is_shown(make_night: MakeNight, make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(report="s3://anna:hunter2@store/r.html", reasons=("s3://a:hunter2@b",))
    data = render_junit(make_night(corpora=(corpus,)), {})
    assert b"hunter2" not in data
    assert b"s3://***@store/r.html" in data


def test_a_night_is_written_where_the_configuration_says(
    folder: str, make_night: MakeNight, make_corpus: MakeCorpus
) -> None:
    gate = storage.join(folder, "podcast", DECISION_FILE)
    storage.write_json(gate, DECISION.to_json())
    night = make_night(corpora=(make_corpus(gate=gate), make_corpus(name="other", gate=None)))
    uri = write_junit(folder, night, NotifyConfig())
    assert uri == storage.join(folder, "junit.xml")
    assert storage.read_bytes(uri) == render_junit(night, {"podcast": DECISION})


def test_no_file_is_written_where_none_is_wanted(tmp_path: Path, make_night: MakeNight) -> None:
    assert write_junit(str(tmp_path), make_night(), NotifyConfig(junit=None)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_decision_is_named(
    tmp_path: Path, make_night: MakeNight, make_corpus: MakeCorpus
) -> None:
    gate = tmp_path / "gate.json"
    gate.write_text("{}")
    night = make_night(corpora=(make_corpus(gate=str(gate)),))
    with pytest.raises(ConfigError, match=re.escape(str(gate))):
        write_junit(str(tmp_path), night, NotifyConfig())
