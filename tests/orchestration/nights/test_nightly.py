"""Nights from the outside: who becomes champion, who is refused, and what a killed one leaves."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from orchestration import mlflow_store, nightly
from orchestration.nightly import run_night
from orchestration.nights.record import find_night, read_nights
from orchestration.promotion import promote
from orchestration.registry import find_alias, set_alias
from ser_model import storage
from ser_model.schema import ConfigError, ManifestError, ModelError, UnfinishedError


class KilledError(BaseException):
    """Nothing that a night expects."""


def champion_of(model: str) -> str | None:
    found = find_alias(model, "champion")
    return None if found is None else found.uri


def go_back(story: Any) -> None:
    """Make the registry what it was before the last night."""
    promote(story.versions[0], "champion", override="again")
    set_alias(story.nights.model, "candidate", "3")


def test_the_first_night_promotes(story) -> None:
    night = story.ran["1-first"]
    assert (night.outcome, night.is_promoted, night.exit_code) == ("first", True, 0)
    assert (night.candidate, night.champion) == (story.versions[0], None)
    assert story.champions["1-first"] == story.versions[0]


def test_a_night_without_another_candidate_evaluates_the_champion(story) -> None:
    night = story.ran["2-unchanged"]
    assert (night.outcome, night.is_promoted, night.exit_code) == ("unchanged", False, 0)
    assert (night.candidate, night.champion) == (None, story.versions[0])
    (scored,) = night.corpora[0].models
    assert scored.role == "champion"
    psi = [f for f in night.corpora[0].drift if f.kind == "population_stability_index"]
    assert [(f.subject, f.value, f.is_alarm) for f in psi] == [
        (dimension, 0.0, False) for dimension in ("arousal", "dominance", "valence")
    ]


def test_a_planted_worse_model_is_refused_and_the_report_says_why(story) -> None:
    night = story.ran["3-refused"]
    assert (night.outcome, night.is_promoted, night.exit_code) == ("refused", False, 1)
    assert (night.candidate, night.champion) == (story.versions[1], story.versions[0])
    assert story.champions["3-refused"] == story.versions[0]
    (corpus,) = night.corpora
    assert (corpus.gate_outcome, corpus.is_accepted) == ("fail", False)
    assert "CCC" in corpus.reasons[0]
    report = Path(corpus.report).read_text(encoding="utf-8")
    assert corpus.reasons[0].split(" is ")[0] in report


def test_what_was_scored_in_an_earlier_night_is_not_scored_again(story) -> None:
    candidate, champion = story.ran["3-refused"].corpora[0].models
    assert candidate.scored_now_s > 0
    assert candidate.cost == pytest.approx(candidate.device_s / 3600 * 2.0)
    assert (champion.scored_now_s, champion.device_s, champion.cost) == (0.0, 0.0, 0.0)
    assert champion.run == story.ran["1-first"].corpora[0].models[0].run


def test_a_model_that_is_no_worse_takes_over(story) -> None:
    night = story.ran["4-accepted"]
    assert (night.outcome, night.is_promoted, night.exit_code) == ("accepted", True, 0)
    assert story.champions["4-accepted"] == story.versions[2]


def test_run_version_and_report_point_to_each_other(story) -> None:
    night = story.ran["4-accepted"]
    report = str(night.corpora[0].report)
    client = mlflow_store.open_client()
    run = client.get_run(str(night.mlflow_run))
    assert run.info.status == "FINISHED"
    assert run.data.params == {"candidate": night.candidate, "champion": night.champion}
    assert run.data.tags["serval.outcome"] == "accepted"
    values = {h.target: h.value for h in night.corpora[0].models[0].headlines if not h.slice}
    assert run.data.metrics["tones/candidate/concordance_cc/arousal"] == values["arousal"]
    names = {file.path for file in client.list_artifacts(run.info.run_id, "tones")}
    assert {"tones/report.html", "tones/gate.json", "tones/candidate"} <= names
    for uri, role in ((night.candidate, "candidate"), (night.champion, "champion")):
        about = story.tags[str(uri)]
        assert (about["night"], about["role"]) == (night.name, role)
        assert (about["run_id"], about["reports"]) == (run.info.run_id, {"tones": report})
    page = Path(report).read_text(encoding="utf-8")
    assert str(night.mlflow_run) in page
    assert str(night.candidate) in page


def test_the_page_of_all_nights_has_them(story) -> None:
    page = Path(story.config.output, "index.html").read_text(encoding="utf-8")
    assert all(name in page for name in story.ran)
    assert set(story.ran) <= {night.name for night in read_nights(story.config.output)}


def test_a_complete_night_is_told_again_and_not_repeated(story, monkeypatch) -> None:
    monkeypatch.setattr(nightly, "held_lock", None)
    assert run_night(story.config, "3-refused") == story.ran["3-refused"]


def test_a_night_that_may_not_promote_only_decides(story) -> None:
    go_back(story)
    night = run_night(dataclasses.replace(story.config, promote=False), "5-decides")
    assert (night.outcome, night.is_promoted) == ("accepted", False)
    assert champion_of(story.nights.model) == story.versions[0]


def test_a_champion_that_changed_meanwhile_is_not_replaced(story, monkeypatch, caplog) -> None:
    go_back(story)
    real = nightly._decide

    def decide(*args: Any) -> Any:
        promote(story.versions[1], "champion", override="somebody was quicker")
        return real(*args)

    monkeypatch.setattr(nightly, "_decide", decide)
    night = run_night(story.config, "6-too-late")
    assert (night.outcome, night.is_promoted) == ("accepted", False)
    assert champion_of(story.nights.model) == story.versions[1]
    assert "is not promoted: the champion was" in caplog.text


def test_an_alarm_promotes_nobody_and_ends_with_1(story, monkeypatch, make_night) -> None:
    go_back(story)
    alarm = make_night().corpora[0].alarms[0]
    monkeypatch.setattr("orchestration.nights.evaluation.compare", lambda *_: (alarm,))
    night = run_night(story.config, "7-alarm")
    assert (night.outcome, night.is_promoted, night.exit_code) == ("accepted", False, 1)
    assert champion_of(story.nights.model) == story.versions[0]


def test_reports_may_show_pseudonyms(story, tmp_path) -> None:
    go_back(story)
    plain = Path(story.ran["3-refused"].corpora[0].report).read_text(encoding="utf-8")
    assert "speaker 7" in plain
    key = tmp_path / "key"
    config = dataclasses.replace(story.config, pseudonymise=str(key), promote=False)
    key.write_bytes(b"short")
    with pytest.raises(ConfigError, match="key"):
        run_night(config, "7-pseudonyms")
    key.write_bytes(b"sixteen or more bytes")
    night = run_night(config, "7-pseudonyms")
    report = Path(str(night.corpora[0].report)).read_text(encoding="utf-8")
    assert "speaker 7" not in report
    assert len(report) > 0.5 * len(plain)


def test_two_nights_at_once_are_kept_apart(story, monkeypatch) -> None:
    go_back(story)
    real = nightly._decide

    def decide(*args: Any) -> Any:
        with pytest.raises(UnfinishedError, match=r"another night holds the lock .*: 8-one by"):
            run_night(story.config, "8-two")
        return real(*args)

    monkeypatch.setattr(nightly, "_decide", decide)
    assert run_night(story.config, "8-one").is_promoted
    assert find_night(story.config.output, "8-two") is None


def test_a_night_killed_at_each_stage_comes_to_the_same_decision(story, monkeypatch) -> None:
    """In a folder of its own, where nothing is scored; the alias moves before the end of it."""
    go_back(story)
    config = dataclasses.replace(story.config, output=str(story.nights.folder / "killed"))
    real, survived = nightly._Stages.enter, []

    def enter(self: Any, stage: str) -> None:
        if stage not in survived:
            survived.append(stage)
            raise KilledError(stage)
        real(self, stage)

    monkeypatch.setattr(nightly._Stages, "enter", enter)
    night = None
    while night is None:
        assert find_night(config.output, "4") is None
        try:
            night = run_night(config, "4")
        except KilledError:
            assert len(survived) < 20
    expected = story.ran["4-accepted"]
    assert {"tones: score champion", "tones: gate", "promote", "index", "complete"} < set(survived)
    assert (night.outcome, night.is_promoted) == (expected.outcome, expected.is_promoted)
    assert champion_of(story.nights.model) == story.versions[2]
    ours, theirs = (storage.read_json(str(n.corpora[0].gate)) for n in (night, expected))
    assert ours["comparisons"] == theirs["comparisons"]
    runs = mlflow_store.open_client().search_runs(
        [mlflow_store.open_client().get_run(str(night.mlflow_run)).info.experiment_id],
        filter_string="tags.`serval.night` = '4'",
    )
    assert [run.info.run_id for run in runs] == [night.mlflow_run]


def test_what_cannot_be_a_night(nights, monkeypatch) -> None:
    config = nights.write_config()
    with pytest.raises(ModelError, match=f"no model models:/{nights.model}"):
        run_night(config, "1")
    nights.register(nights.right)
    with pytest.raises(ConfigError, match="has neither the alias other nor champion"):
        run_night(dataclasses.replace(config, candidate="other"), "2")
    corpus = dataclasses.replace(config.corpora[0], slices=("accent",))
    with pytest.raises(ConfigError, match="tones: cannot slice by 'accent'"):
        run_night(dataclasses.replace(config, corpora=(corpus,)), "3")
    corpus = dataclasses.replace(config.corpora[0], metadata="nowhere.csv")
    with pytest.raises(ManifestError, match=r"nowhere\.csv"):
        run_night(dataclasses.replace(config, corpora=(corpus,)), "4")
    monkeypatch.delenv("SERVAL_WEBHOOK", raising=False)
    config = nights.write_config("notify: {webhook_variable: SERVAL_WEBHOOK}")
    with pytest.raises(ConfigError, match="SERVAL_WEBHOOK"):
        run_night(config, "5")
    assert read_nights(config.output) == []


def test_who_is_told_of_a_failure_and_of_a_refusal(nights, webhook, monkeypatch) -> None:
    monkeypatch.setenv("SERVAL_WEBHOOK", webhook.url)
    config = nights.write_config("notify: {webhook_variable: SERVAL_WEBHOOK}")
    with pytest.raises(ModelError):
        run_night(config, "1")
    assert "COULD NOT FINISH: settle" in webhook.received[0]["text"]
