"""Who becomes champion: the first, who a gate let through, and who somebody answers for."""

import json
import re
from pathlib import Path

import pytest

from orchestration import mlflow_store
from orchestration.gate_decision import Comparison, Decision, Side
from orchestration.model_actions import describe_model
from orchestration.model_uris import resolve_model
from orchestration.promotion import promote
from orchestration.registry import PROMOTION_TAG, find_alias, register_model
from ser_model import storage
from ser_model.models.storage import save_model
from ser_model.schema import ConfigError, ModelError


@pytest.fixture
def name(mlflow_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A registered model of two versions, of which the first is champion; returns its name."""
    name = re.sub(r"\W+", "-", request.node.name)
    for seed in (1, 2):
        folder = str(tmp_path / f"model {seed}")
        save_model(resolve_model(f"random:demo?seed={seed}").load(), folder)
        assert register_model(folder, name=name) == str(seed)
    promote(f"models:/{name}/1", "champion")
    return name


def weights_of(uri: str) -> str:
    return resolve_model(uri).weights_sha256


def champion_of(name: str) -> str:
    champion = find_alias(name, "champion")
    assert champion is not None
    return champion.version


def record_of(name: str, version: str) -> dict[str, object]:
    tags = mlflow_store.open_client().get_model_version(name, version).tags
    return json.loads(tags[PROMOTION_TAG])


def write_decision(folder: Path, name: str, *, outcome: str = "pass", **weights: str | None) -> str:
    known = {
        "candidate": weights_of(f"models:/{name}/2"),
        "champion": weights_of(f"models:/{name}/1"),
    }
    sides = {
        role: Side(
            audit=role, inputs_sha256="i", model_version="v", model_uri=None, weights_sha256=sha256
        )
        for role, sha256 in {**known, **weights}.items()
    }
    comparison = Comparison(
        kind="statistic",
        condition="clean",
        slice_by="",
        slice="",
        target="arousal",
        metric="concordance_cc",
        margin=0.02,
        candidate=0.5,
        champion=0.5,
        outcome=outcome,
        counts_as=outcome,
    )
    decision = Decision(**sides, comparisons=(comparison,), config={}, notes=())
    uri = str(folder / "decision.json")
    storage.write_json(uri, decision.to_json())
    return uri


def test_the_first_champion_of_a_name_needs_no_gate_and_is_recorded(name: str) -> None:
    assert champion_of(name) == "1"
    record = record_of(name, "1")
    assert (record["how"], record["replaced"]) == ("first", None)
    assert promote(f"models:/{name}@champion", "champion").uri == f"models:/{name}/1"
    assert record_of(name, "1") == record


def test_without_a_gate_a_champion_stays(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"models:/{name}/1 is champion: .* --override REASON"):
        promote(f"models:/{name}/2", "champion")
    assert champion_of(name) == "1"
    assert promote(f"models:/{name}/1", "candidate").uri == f"models:/{name}/1"


def test_a_passing_gate_lets_these_weights_through(name: str, tmp_path: Path) -> None:
    gate = write_decision(tmp_path, name)
    assert promote(f"models:/{name}@candidate", "champion", gates=[gate]).uri == f"models:/{name}/2"
    assert champion_of(name) == "2"
    record = record_of(name, "2")
    assert (record["how"], record["decisions"]) == ("gate", [gate])
    assert record["replaced"] == f"models:/{name}/1"
    assert describe_model(f"models:/{name}/2")["promotion"] == record


def test_of_several_gates_all_must_let_it_through(name: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    gates = [
        write_decision(tmp_path, name),
        write_decision(tmp_path / "other", name, outcome="fail"),
    ]
    with pytest.raises(ConfigError, match=r"other/decision.json refuses its candidate"):
        promote(f"models:/{name}/2", "champion", gates=gates)
    assert champion_of(name) == "1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outcome": "fail"}, r"refuses its candidate \(fail\)"),
        ({"outcome": "inconclusive"}, r"refuses its candidate \(inconclusive\)"),
        ({"candidate": "f" * 64}, r"about other weights \(ffffffffffff\)"),
        ({"candidate": None}, r"about other weights \(unknown\)"),
        ({"champion": "e" * 64}, r"against other weights \(eeeeeeeeeeee\) .* of the champion"),
    ],
)
def test_a_gate_that_does_not_speak_for_it(
    name: str, tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    gate = write_decision(tmp_path, name, **changes)
    with pytest.raises(ConfigError, match=message):
        promote(f"models:/{name}/2", "champion", gates=[gate])
    assert champion_of(name) == "1"


def test_an_override_is_kept_with_who_and_when(name: str) -> None:
    promote(f"models:/{name}/2", "champion", override='  "urgent"\n fix ')
    assert champion_of(name) == "2"
    record = record_of(name, "2")
    assert (record["how"], record["reason"]) == ("override", '"urgent"\n fix')
    assert "@" in str(record["who"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", str(record["when"]))


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_an_override_needs_a_reason(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match="--override needs a reason"):
        promote(f"models:/{name}/2", "champion", override=reason)
    assert champion_of(name) == "1"


def test_what_is_no_decision(name: str, tmp_path: Path) -> None:
    uri = str(tmp_path / "decision.json")
    with pytest.raises(ConfigError, match="does not exist; serval gate writes it"):
        promote(f"models:/{name}/2", "champion", gates=[uri])
    for text in ("{", "[]", '{"accepted": true}', '{"kind": "serval gate decision"}'):
        Path(uri).write_text(text)
        with pytest.raises(ConfigError, match="is no decision of serval gate"):
            promote(f"models:/{name}/2", "champion", gates=[uri])


def test_other_aliases_have_no_gate(name: str) -> None:
    with pytest.raises(ConfigError, match="are for --alias champion, not candidate"):
        promote(f"models:/{name}/1", "candidate", override="why not")


def test_an_unknown_name_has_no_champion(name: str) -> None:
    with pytest.raises(ModelError, match="no model models:/nobody"):
        find_alias("nobody", "champion")
