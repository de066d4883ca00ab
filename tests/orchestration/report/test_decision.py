"""What a gate decided, on the page of the audit that it is about."""

import dataclasses
import html
import re
from pathlib import Path

import pytest

from orchestration.gate_decision import Decision
from orchestration.report.gate_wording import MAX_COMPARISONS, MAX_REASONS, refusal_reasons
from orchestration.report.render import render_report
from orchestration.report.wording import MINUS
from ser_model import storage
from ser_model.schema import ConfigError, RunError


def words_of(page: Path) -> str:
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page.read_text(), flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


@pytest.fixture
def report(make_audit, tmp_path: Path):
    """report(decision, **options) -> the page, made with what lies in the audit."""

    def make(decided: Decision, **options: object) -> Path:
        folder = make_audit()
        storage.write_json(f"{folder}/gate.json", decided.to_json())
        render_report(folder, str(tmp_path / "report.html"), **options)
        return tmp_path / "report.html"

    return make


def failed(comparison):
    numbers = {"worsening": 0.045, "worsening_low": 0.031, "worsening_high": 0.059}
    return comparison("fail", candidate=0.7, **numbers)


def test_a_refusal_is_said_on_top_with_its_reason(report, comparison, decision) -> None:
    words = words_of(report(decision(comparison(target="valence"), failed(comparison))))
    reason = (
        "CCC arousal, clean: worse by .045 (one-sided 95% bounds .031 and .059), "
        "shown to be worse by more than the margin of .020."
    )
    assert "May it take the champion's place?" in words
    assert f"No: the candidate is shown to be worse by more than a margin. {reason}" in words
    assert words.index(reason) < words.index("How right it is")
    row = "CCC arousal, clean .700 .745 .045 .031 to .059 .020 Fail"
    assert row in words
    # What decides stands first.
    assert words.index(row) < words.index("CCC valence, clean .733 .745 .012 .008 to .016 .020")
    assert "Candidate 4 models:/demo/4 c4c4c4c4c4c4 audits/candidate" in words
    assert "Champion 3 models:/demo/3 c3c3c3c3c3c3 audits/champion" in words


def test_what_passes_has_no_reasons(report, comparison, decision) -> None:
    gap = {"kind": "gap", "metric": "concordance_cc_gap", "slice": "sex=female-sex=male"}
    lenient = comparison("inconclusive", counts_as="pass", slice_by="sex", **gap)
    decided = decision(comparison(), lenient, notes=("the audits differ in nothing",))
    words = words_of(report(decided))
    assert refusal_reasons(decided.to_json()) == ()
    assert "Yes: nothing that was asked for is worse by as much as its margin." in words
    assert "CCC gap arousal, clean sex=female-sex=male .733 .745 .012 .008 to .016" in words
    assert "Inconclusive counts as pass" in words
    assert "the audits differ in nothing" in words


def test_the_champion_is_told_of_its_candidate(report, comparison, decision) -> None:
    words = words_of(report(decision(failed(comparison), role="champion")))
    assert "May the candidate take its place?" in words
    assert "May it take the champion" not in words


def test_without_a_decision_there_is_no_section(make_audit, tmp_path: Path) -> None:
    render_report(make_audit(), str(tmp_path / "report.html"))
    assert 'id="gate"' not in (tmp_path / "report.html").read_text()


def test_a_decision_elsewhere_is_named(make_audit, comparison, decision, tmp_path: Path) -> None:
    uri = str(tmp_path / "elsewhere.json")
    storage.write_json(uri, decision(comparison()).to_json())
    page = tmp_path / "report.html"
    render_report(make_audit(), str(page), decision_uri=uri)
    assert "May it take the champion's place?" in words_of(page)


def test_a_decision_about_another_audit_is_refused(report, comparison, decision) -> None:
    with pytest.raises(RunError, match=r"gate\.json is about other audits .*run `serval gate`"):
        report(decision(comparison(), role="neither"))


def test_an_audit_that_does_not_say_what_it_is_of_has_no_decision(
    make_audit, comparison, decision, tmp_path: Path
) -> None:
    folder = make_audit(audit={"inputs_sha256": ""})
    other = decision(comparison())
    unknown = dataclasses.replace(other.candidate, inputs_sha256="")
    content = dataclasses.replace(other, candidate=unknown).to_json()
    storage.write_json(f"{folder}/gate.json", content)
    with pytest.raises(RunError, match="is about other audits"):
        render_report(folder, str(tmp_path / "report.html"))


def test_a_damaged_decision_is_refused(make_audit, comparison, decision, tmp_path: Path) -> None:
    folder, page = make_audit(), str(tmp_path / "report.html")
    whole = decision(comparison()).to_json()
    damaged = {
        "is no decision": {"kind": "something else"},
        "is damaged: condition is missing": {"comparisons": [{"kind": "gap"}]},
        "does not say what its comparisons say": {"accepted": False},
    }
    for message, change in damaged.items():
        storage.write_json(f"{folder}/gate.json", whole | change)
        with pytest.raises(ConfigError, match=message):
            render_report(folder, page)


def test_many_comparisons_are_counted(report, comparison, decision) -> None:
    many = [comparison("inconclusive", target=f"t{n}") for n in range(MAX_COMPARISONS + 7)]
    decided = decision(comparison(), *many)
    words = words_of(report(decided))
    assert f"{MAX_COMPARISONS} of {MAX_COMPARISONS + 8} comparisons, those that decide" in words
    reasons = refusal_reasons(decided.to_json())
    assert len(reasons) == MAX_REASONS + 1
    assert reasons[-1] == f"So do {len(many) - MAX_REASONS} more comparisons."


def test_reasons_say_what_is_not_known(comparison, decision) -> None:
    nothing = {"worsening": None, "worsening_low": None, "worsening_high": None}
    better = {"worsening": -0.01, "worsening_low": -0.05, "worsening_high": 0.03}
    gap = {"kind": "gap", "metric": "concordance_cc_gap", "slice_by": "sex", "slice": "sex=male-x"}
    decided = decision(
        comparison("inconclusive", reason="fewer than 2 speakers", **nothing),
        comparison("inconclusive", **better),
        comparison("inconclusive", **better, **gap),
    )
    assert refusal_reasons(decided.to_json()) == (
        "CCC arousal, clean: it cannot be told whether it is worse: fewer than 2 speakers.",
        f"CCC arousal, clean: better by .010 (one-sided 95% bounds {MINUS}.050 and .030), "
        "not shown to be worse by less than the margin of .020.",
        "CCC gap arousal, clean sex=male-x: narrower by .010 (one-sided 95% bounds "
        f"{MINUS}.050 and .030), not shown to be wider by less than the margin of .020.",
    )


def test_speakers_stand_under_pseudonyms(report, comparison, decision, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    of_speaker = {"slice_by": "speaker_id", "slice": "speaker_id=speaker-007"}
    note = "left out, as the champion has no value: concordance_cc, speaker_id=speaker-008"
    decided = decision(comparison("fail", **of_speaker), notes=(note, "speaker-009 is one"))
    named, hidden = words_of(report(decided)), words_of(report(decided, key_uri=str(key)))
    for name in ("speaker-007", "speaker-008", "speaker-009"):
        assert name in named
        assert name not in hidden
    assert "left out, as the champion has no value" in hidden


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202eturned", "n" * 999],
)
def test_hostile_names_stay_text(report, comparison, decision, name: str) -> None:
    of = {"slice_by": name, "slice": f"{name}={name}", "condition": name, "target": name}
    decided = decision(comparison("fail", reason=name, **of), notes=(name,))
    sides = {"audit": name, "model_version": name, "model_uri": name, "weights_sha256": name}
    decided = dataclasses.replace(
        decided, candidate=dataclasses.replace(decided.candidate, **sides)
    )
    page = report(decided, links={name: name, "run": "javascript:alert(1)"})
    text = page.read_text()
    assert not re.search(r"<script|<img|\u202e|href=.javascript", text)
    assert "javascript:alert(1)" in text
    assert len(text) < 200_000


def test_links_stand_in_the_provenance(make_audit, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    links = {"MLflow run": "https://mlflow/#/runs/1", "decision": "gate.json", "audit": "s3://b/a"}
    render_report(make_audit(), str(page), links=links)
    text = page.read_text()
    assert '<a href="https://mlflow/#/runs/1" rel="noreferrer"><bdi>https://mlflow' in text
    assert '<a href="gate.json"' in text
    assert "<code><bdi>s3://b/a</bdi></code>" in text


def test_the_same_decision_gives_the_same_bytes(report, comparison, decision) -> None:
    decided = decision(failed(comparison))
    assert report(decided).read_bytes() == report(decided).read_bytes()
