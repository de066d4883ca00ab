"""Nights from the outside: who becomes champion, who is refused, and what a killed one leaves."""

import dataclasses
import json
from pathlib import Path

import pytest

from orchestration import mlflow_store, nightly
from orchestration.nightly import run_night
from orchestration.nights.record import find_night, read_nights
from orchestration.promotion import promote
from orchestration.registry import find_alias
from ser_model import storage
from ser_model.schema import ConfigError, ManifestError, UnfinishedError


class KilledError(BaseException):
    """Nothing that a night catches."""


def champion_of(nights) -> str | None:
    found = find_alias(nights.model, "champion")
    return None if found is None else found.uri


def decision_of(night) -> dict:
    """Return all of a decision that does not tell when it was made."""
    content = night.to_json()
    decisions = [storage.read_json(c.gate) for c in night.corpora if c.gate is not None]
    for corpus in content["corpora"]:
        for scored in corpus["models"]:
            for name in ("device_s", "cost", "scored_now_s"):
                del scored[name]
    return {
        "decisions": decisions,
        **{n: content[n] for n in ("outcome", "is_promoted", "exit_code", "corpora")},
    }


def test_the_first_night_promotes_and_the_second_refuses_a_planted_worse_model(nights) -> None:
    config = nights.write_config()
    first = nights.register(nights.right)
    night = run_night(config, "2026-11-20")
    assert (night.outcome, night.is_promoted, night.exit_code) == ("first", True, 0)
    assert champion_of(nights) == first

    second = nights.register(nights.wrong)
    night = run_night(config, "2026-11-21")
    assert (night.outcome, night.is_promoted, night.exit_code) == ("refused", False, 1)
    assert (night.candidate, night.champion) == (second, first)
    assert champion_of(nights) == first
    (corpus,) = night.corpora
    assert corpus.gate_outcome == "fail"
    assert "CCC" in " ".join(corpus.reasons)
    assert "CCC" in Path(corpus.report).read_text()
    candidate, champion = corpus.models
    assert candidate.scored_now_s > 0
    assert (champion.scored_now_s, champion.device_s, champion.cost) == (0.0, 0.0, 0.0)
    assert candidate.cost == pytest.approx(candidate.device_s / 3600 * 2.0)
    assert [n.name for n in read_nights(config.output)] == ["2026-11-20", "2026-11-21"]
    index = Path(config.output, "index.html").read_text()
    assert second in index
    assert "2026-11-20" in index


def test_a_model_that_is_no_worse_takes_over_and_points_to_its_run(nights) -> None:
    config = nights.write_config()
    first = nights.register(nights.right)
    run_night(config, "1")
    second = nights.register(nights.right, shift=1e-6)
    night = run_night(config, "2")
    assert (night.outcome, night.is_promoted, night.exit_code) == ("accepted", True, 0)
    assert champion_of(nights) == second
    client = mlflow_store.open_client()
    assert night.mlflow_run is not None
    run = client.get_run(night.mlflow_run)
    assert run.info.status == "FINISHED"
    assert run.data.params["candidate"] == second
    assert run.data.metrics["tones/candidate/concordance_cc/arousal"] > 0.9
    names = [file.path for file in client.list_artifacts(night.mlflow_run, "tones")]
    assert {"tones/report.html", "tones/gate.json"} <= set(names)
    for uri, role in ((first, "champion"), (second, "candidate")):
        _, name, version = uri.split("/")
        about = json.loads(client.get_model_version(name, version).tags["serval.night"])
        assert (about["night"], about["role"], about["run_id"]) == ("2", role, night.mlflow_run)
        assert about["reports"] == {"tones": night.corpora[0].report}
    assert night.mlflow_run in Path(str(night.corpora[0].report)).read_text()


def test_a_night_without_a_candidate_evaluates_the_champion(nights) -> None:
    config = nights.write_config()
    first = nights.register(nights.right)
    run_night(config, "1")
    night = run_night(config, "2")
    assert (night.outcome, night.candidate, night.champion) == ("unchanged", None, first)
    assert [scored.role for scored in night.corpora[0].models] == ["champion"]
    assert night.exit_code == 0


def test_a_complete_night_is_told_again_and_not_repeated(nights, monkeypatch) -> None:
    config = nights.write_config()
    nights.register(nights.right)
    night = run_night(config, "1")
    monkeypatch.setattr(nightly, "held_lock", None)
    assert run_night(config, "1") == night


def test_a_night_that_may_not_promote_only_decides(nights) -> None:
    config = nights.write_config("promote: false")
    nights.register(nights.right)
    night = run_night(config, "1")
    assert (night.outcome, night.is_promoted, champion_of(nights)) == ("first", False, None)


def test_a_champion_that_changed_meanwhile_is_not_replaced(nights, monkeypatch, caplog) -> None:
    config = nights.write_config()
    nights.register(nights.right)
    run_night(config, "1")
    nights.register(nights.right, shift=1e-6)
    third = nights.register(nights.wrong)
    real = nightly._decide

    def decide(*args: object):
        promote(third, "champion", override="somebody was quicker")
        return real(*args)

    monkeypatch.setattr(nightly, "_decide", decide)
    config = dataclasses.replace(config, candidate="2")
    night = run_night(config, "2")
    assert (night.outcome, night.is_promoted, champion_of(nights)) == ("accepted", False, third)
    assert "is not promoted: the champion was" in caplog.text


def stages_of(nights, config, monkeypatch, night: str) -> list[str]:
    """Run a night, and return the stages that it entered."""
    entered = []
    real = nightly._Stages.enter
    with monkeypatch.context() as patch:
        patch.setattr(nightly._Stages, "enter", lambda self, s: (entered.append(s), real(self, s)))
        run_night(config, night)
    return entered


def test_a_night_killed_at_any_stage_comes_to_the_same_decision(nights, monkeypatch) -> None:
    config = nights.write_config()
    nights.register(nights.right)
    run_night(config, "1")
    second = nights.register(nights.right, shift=1e-6)
    whole = dataclasses.replace(config, output=str(nights.folder / "whole"), promote=False)
    entered = stages_of(nights, whole, monkeypatch, "2")
    assert len(entered) >= 10
    expected = find_night(whole.output, "2")
    killed_at = iter(entered)
    real = nightly._Stages.enter

    def enter(self, stage: str) -> None:
        if stage == waiting_for:
            raise KilledError(stage)
        real(self, stage)

    monkeypatch.setattr(nightly._Stages, "enter", enter)
    for waiting_for in killed_at:
        with pytest.raises(KilledError, match=waiting_for):
            run_night(config, "2")
        assert find_night(config.output, "2") is None
    waiting_for = ""
    night = run_night(config, "2")
    assert champion_of(nights) == second
    assert night.is_promoted
    found, wanted = decision_of(night), decision_of(expected)
    for name in ("outcome", "exit_code"):
        assert found[name] == wanted[name]
    assert [d["comparisons"] for d in found["decisions"]] == [
        d["comparisons"] for d in wanted["decisions"]
    ]


def test_what_cannot_be_a_night(nights, monkeypatch) -> None:
    config = nights.write_config()
    with pytest.raises(Exception, match=f"no model models:/{nights.model}"):
        run_night(config, "1")
    nights.register(nights.right)
    with pytest.raises(ConfigError, match="has neither the alias other nor champion"):
        run_night(dataclasses.replace(config, candidate="other"), "2")
    corpus = dataclasses.replace(config.corpora[0], slices=("accent",))
    with pytest.raises(ConfigError, match="tones: cannot slice by 'accent'"):
        run_night(dataclasses.replace(config, corpora=(corpus,)), "3")
    corpus = dataclasses.replace(config.corpora[0], metadata="nowhere.csv")
    with pytest.raises(ManifestError, match="nowhere.csv"):
        run_night(dataclasses.replace(config, corpora=(corpus,)), "4")
    assert read_nights(config.output) == []


def test_two_nights_at_once_are_kept_apart(nights, monkeypatch) -> None:
    config = nights.write_config()
    nights.register(nights.right)
    real = nightly._decide

    def decide(*args: object):
        with pytest.raises(UnfinishedError, match="another night holds the lock .*: 1 by"):
            run_night(config, "2")
        return real(*args)

    monkeypatch.setattr(nightly, "_decide", decide)
    assert run_night(config, "1").is_promoted
