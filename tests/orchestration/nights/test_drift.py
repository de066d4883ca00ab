"""What is said of a night beside the nights before, and how often it is said for nothing."""

import dataclasses
import json
import re

import numpy as np
import pytest

from orchestration.nights import drift
from orchestration.nights.drift import FALSE_ALARMS, compare
from orchestration.nights.drift_config import DriftConfig
from orchestration.nights.observation import Observation
from orchestration.nights.record import DriftFinding
from ser_model.metrics.exchanged_nights import NUM_GROUPS, speaker_groups
from ser_model.schema import DIMENSIONS

DEFAULT = DriftConfig()
SCORES = ("population_stability_index", "jensen_shannon_divergence")


def make_night(seed, num_speakers, *, shift=0.0, rejected=0.01, emotions=False, **fields):
    """A night with speakers of its own, about 20 segments of each; ICC .3, spread .15."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(num_speakers), np.maximum(random.poisson(20, num_speakers), 1))
    keys = random.integers(0, 2**63, num_speakers, dtype=np.uint64)
    group = speaker_groups(keys)[speaker].astype(int)
    is_scored = random.uniform(size=speaker.size) >= rejected
    of_speaker = random.normal(size=num_speakers)
    histograms = {}
    for target in DIMENSIONS:
        # What dimensions share: speakers who are loud and dominant.
        own = np.sqrt(0.5) * of_speaker + np.sqrt(0.5) * random.normal(size=num_speakers)
        noise = np.sqrt(0.3) * own[speaker] + np.sqrt(0.7) * random.normal(size=speaker.size)
        values = 0.5 + 0.15 * noise + (shift if target == "arousal" else 0.0)
        bins = np.clip(10 * values, 0, 9).astype(int)
        histograms[target] = count(bins[is_scored], group[is_scored], map(str, range(10)))
    if emotions:
        bins = (of_speaker[speaker] + random.normal(size=speaker.size) > 1).astype(int)
        histograms = {"emotion": count(bins[is_scored], group[is_scored], ["anger", "joy"])}
    observation = Observation(
        weights_sha256="these",
        histograms=histograms,
        outcomes=count(is_scored.astype(int), group, ["rejected", "scored"]),
        speakers=np.sort(keys),
        languages={"de": speaker.size},
        missing={"speaker_id": 0, "language": 0},
        num_unmatched=0,
    )
    return dataclasses.replace(observation, **fields)


def count(bins, groups, names):
    names = list(names)
    cells = np.bincount(bins * NUM_GROUPS + groups, minlength=len(names) * NUM_GROUPS)
    return dict(zip(names, cells.reshape(len(names), NUM_GROUPS), strict=True))


def found(findings, kind, subject="") -> DriftFinding:
    (finding,) = [f for f in findings if (f.kind, f.subject) == (kind, subject)]
    return finding


def alarms(findings) -> list[tuple[str, str]]:
    return [(finding.kind, finding.subject) for finding in findings if finding.is_alarm]


def test_the_first_night_has_nothing_to_compare_with():
    (finding,) = compare(make_night(0, 12), [], DEFAULT)
    assert (finding.value, finding.is_alarm) == (None, False)
    assert finding.detail.startswith("no earlier night: there is nothing to compare")


def test_other_weights_are_compared_by_their_metadata_alone():
    before = make_night(0, 12, weights_sha256="others")
    tonight = make_night(1, 12, shift=0.3, languages={"de": 1, "xx": 2})
    findings = compare(tonight, [before], DEFAULT)
    assert {finding.kind for finding in findings if finding.value is not None} == {
        "new_speakers",
        "new_languages",
        "missing_metadata",
    }
    assert "no earlier night by these weights" in findings[0].detail
    assert alarms(findings) == [("new_languages", "language")]


def test_the_same_night_again_is_no_drift():
    night = make_night(0, 12)
    findings = compare(night, [night, night], DriftConfig(jensen_shannon_divergence=0.0))
    assert len(findings) == 2 * 3 + 1 + 2 + 3
    assert not alarms(findings)
    assert all(finding.value == pytest.approx(0, abs=1e-12) for finding in findings)


def test_a_shift_of_a_tenth_in_arousal_is_an_alarm_of_arousal():
    before = [make_night(seed, 60) for seed in range(3)]
    findings = compare(make_night(9, 60, shift=0.1), before, DEFAULT)
    assert alarms(findings) == [(kind, "arousal") for kind in SCORES]
    finding = found(findings, SCORES[0], "arousal")
    assert finding.threshold == 0.2
    assert 0.3 < finding.value < 0.7
    said = r"arousal: PSI (\.\d+) against 3 nights \(alarm above \.2; by chance up to (\.\d+)\)"
    value, limit = re.fullmatch(said, finding.detail).groups()
    assert float(value) == round(finding.value, 3)
    assert float(limit) < 0.2


def test_with_few_speakers_a_large_value_alone_is_no_alarm():
    findings = compare(make_night(1, 6), [make_night(0, 6)], DEFAULT)
    assert any(finding.value > finding.threshold for finding in findings if finding.kind in SCORES)
    assert not alarms(findings)


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.0, []), (0.3, [(k, "emotion") for k in SCORES])]
)
def test_emotions_are_compared_by_name(shift, expected):
    before = [make_night(seed, 60, emotions=True) for seed in range(3)]
    tonight = make_night(9, 60, emotions=True)
    histogram = dict(tonight.histograms["emotion"])
    if shift:
        histogram["sadness"] = histogram.pop("joy")
    tonight = dataclasses.replace(tonight, histograms={"emotion": histogram})
    assert alarms(compare(tonight, before, DEFAULT)) == expected


def test_a_rise_of_rejections_is_an_alarm_and_a_fall_is_none():
    few = [make_night(seed, 60, rejected=0.01) for seed in range(3)]
    many = [make_night(seed, 60, rejected=0.1) for seed in range(3, 6)]
    finding = found(compare(many[0], few, DEFAULT), "rejected_share")
    assert finding.is_alarm
    assert finding.value == pytest.approx(0.09, abs=0.02)
    assert re.match(r"rejected: \d+\.\d % of the segments against 0\.\d % in 3 ", finding.detail)
    finding = found(compare(few[0], many, DEFAULT), "rejected_share")
    assert not finding.is_alarm
    assert finding.value < -0.07


@pytest.mark.parametrize("is_tonight", [True, False])
def test_where_nothing_was_scored_only_rejections_are_compared(is_tonight):
    nothing = make_night(0, 30, rejected=1.1, histograms={})
    sides = (nothing, make_night(1, 30)) if is_tonight else (make_night(1, 30), nothing)
    findings = compare(sides[0], [sides[1]], DEFAULT)
    when = "tonight" if is_tonight else "before"
    for kind in SCORES:
        finding = found(findings, kind, "valence")
        assert (finding.value, finding.is_alarm) == (None, False)
        assert finding.detail == f"valence: no segment has a score {when}"
    assert found(findings, "rejected_share").is_alarm == is_tonight


@pytest.mark.parametrize(("threshold", "is_alarm"), [(None, False), (0.5, True), (0.7, False)])
def test_new_speakers_are_an_alarm_where_it_is_asked_for(threshold, is_alarm):
    before = [make_night(0, 3, speakers=np.array(keys, np.uint64)) for keys in ([1, 2], [2, 5])]
    tonight = make_night(0, 3, speakers=np.array([2, 7, 9], np.uint64))
    finding = found(
        compare(tonight, before, DriftConfig(new_speakers=threshold)), "new_speakers", "speaker_id"
    )
    assert finding.value == pytest.approx(2 / 3)
    assert finding.is_alarm == is_alarm
    ending = (
        "never an alarm" if threshold is None else f"alarm above {threshold}".replace("0.", ".")
    )
    assert finding.detail == f"new speakers: 2 of 3 were not there before ({ending})"


def test_of_many_speakers_a_sample_is_compared(monkeypatch):
    """Up to the largest key that every night kept, all of them are known."""
    monkeypatch.setattr(drift, "MAX_SPEAKERS", 3)
    before = [make_night(0, 3, speakers=np.array(k, np.uint64)) for k in ([1, 2, 6], [2, 9])]
    tonight = make_night(0, 3, speakers=np.array([2, 4, 8], np.uint64))
    finding = found(compare(tonight, before, DEFAULT), "new_speakers", "speaker_id")
    assert finding.value == 0.5
    assert "1 of a sample of 2 were not there" in finding.detail


def test_a_new_language_is_an_alarm_and_its_name_harmless():
    before = [make_night(0, 3, languages={"de": 1}), make_night(0, 3, languages={"en": 1})]
    names = ["de", "a\nb", *(f"x{number}" for number in range(6))]
    findings = compare(make_night(0, 3, languages=dict.fromkeys(names, 1)), before, DEFAULT)
    finding = found(findings, "new_languages", "language")
    assert (finding.value, finding.is_alarm) == (7.0, True)
    assert "\n" not in finding.detail
    assert finding.detail.endswith("x3 and 2 more (alarm above 0)")


def test_a_column_that_earlier_nights_did_not_have_has_nothing_new():
    before = make_night(0, 3, missing={}, languages={}, speakers=np.empty(0, np.uint64))
    findings = compare(make_night(1, 3), [before], DEFAULT)
    kinds = {finding.kind for finding in findings}
    assert not kinds & {"new_speakers", "new_languages"}
    assert found(findings, "missing_metadata", "language").value == -1.0


def test_missing_metadata_are_an_alarm_with_however_few_speakers():
    before = [make_night(seed, 3, missing={"age": 0, "sex": 6}) for seed in range(3)]
    tonight = make_night(9, 3, missing={"sex": 6}, num_unmatched=10)
    findings = compare(tonight, before, DEFAULT)
    assert alarms(findings) == [("missing_metadata", ""), ("missing_metadata", "age")]
    gone = found(findings, "missing_metadata", "age")
    assert gone.value == 1.0
    assert gone.detail == "segments without age: 100.0 % against 0.0 % (alarm above .05)"
    unmatched = found(findings, "missing_metadata")
    assert unmatched.value == pytest.approx(10 / tonight.num_segments)


def test_without_any_metadata_on_a_side_nothing_is_said_of_columns():
    before = make_night(0, 3)
    tonight = make_night(1, 3, missing={"language": 0})
    tonight = dataclasses.replace(tonight, num_unmatched=tonight.num_segments)
    findings = compare(tonight, [before], DEFAULT)
    assert found(findings, "missing_metadata", "language").value is None
    assert alarms(findings) == [("missing_metadata", "")]


def test_without_thresholds_nothing_is_an_alarm():
    names = [field.name for field in dataclasses.fields(DriftConfig) if field.name != "nights"]
    never = DriftConfig(**dict.fromkeys(names))
    tonight = make_night(9, 60, shift=0.3, languages={"xx": 1}, missing={})
    findings = compare(tonight, [make_night(0, 60)], never)
    assert len(findings) == 12
    assert not alarms(findings)
    assert alarms(compare(tonight, [make_night(0, 60)], DEFAULT))


def test_findings_fit_into_json():
    findings = compare(make_night(1, 6), [make_night(0, 6)], DEFAULT)
    assert json.loads(json.dumps([dataclasses.asdict(f) for f in findings], allow_nan=False))


def share_of_alarms(num_corpora, num_speakers, num_nights, *, shift=0.0, thresholds=DEFAULT):
    """In what share of corpora scores or rejections raise an alarm."""
    num_alarms = 0
    for corpus in range(num_corpora):
        first = corpus * (num_nights + 1)
        before = [make_night(first + night, num_speakers) for night in range(num_nights)]
        tonight = make_night(first + num_nights, num_speakers, shift=shift)
        num_alarms += bool(alarms(compare(tonight, before, thresholds)))
    return num_alarms / num_corpora


def test_without_drift_hardly_any_night_has_an_alarm():
    """At most 1 in 100 by chance; of 100 corpora 5 would be more than three standard errors."""
    assert share_of_alarms(100, 12, 1) <= 0.04


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("num_nights", [1, 7])
@pytest.mark.parametrize("num_speakers", [4, 12, 24, 60])
def test_chance_alone_raises_an_alarm_in_one_night_of_a_hundred(num_speakers, num_nights):
    """With thresholds of 0 nothing else decides; three standard errors more are allowed."""
    chance = DriftConfig(
        population_stability_index=0, jensen_shannon_divergence=0, rejected_share=0
    )
    rate = share_of_alarms(400, num_speakers, num_nights, thresholds=chance)
    assert rate <= FALSE_ALARMS + 3 * 0.005


@pytest.mark.slow
@pytest.mark.parametrize("num_nights", [1, 7])
def test_a_shift_of_a_tenth_is_found_with_60_speakers(num_nights):
    assert share_of_alarms(100, 60, num_nights, shift=0.1) >= 0.98
