"""Registered ensembles: they score as their members' runs vote, and stay what they are."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import torch

from orchestration.ensembles.registration import register_ensemble
from orchestration.ensembles.voting import vote_on_runs
from orchestration.exporting import export
from orchestration.model_actions import describe_model, export_model
from orchestration.model_uris import resolve_model
from orchestration.registry import list_models, register_model, set_alias
from orchestration.scoring import score
from ser_model.manifest import write_manifest
from ser_model.models.base import build_model
from ser_model.models.ensemble import read_ensemble, save_ensemble
from ser_model.models.storage import save_model
from ser_model.schema import ModelError

EMOTIONS = ("anger", "joy", "sadness")


def tone(number: int) -> np.ndarray:
    """Tones of all heights in noise of all strengths."""
    random = np.random.default_rng(number)
    time_s = np.arange(random.integers(8_000, 24_000)) / 16_000
    noise = random.uniform(0, 0.3) * random.uniform(-1, 1, len(time_s))
    return (0.5 * np.sin(2 * np.pi * 100 * 1.2**number * time_s) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def members(mlflow_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three registered models of emotions that are at odds over the tones."""
    config = dataclasses.replace(
        resolve_model("random:demo?seed=0").load().config, task="emotion", targets=EMOTIONS
    )
    uris = []
    for seed in range(3):
        model = build_model(config, seed).eval()
        heard = [(torch.from_numpy(tone(n))[None], torch.tensor([len(tone(n))])) for n in range(24)]
        weight, bias = list(model.head.parameters())[-2:]
        with torch.no_grad():
            logits_NK = torch.cat([model(*item).scores for item in heard])
            mean_K, spread_K = logits_NK.mean(dim=0), logits_NK.std(dim=0)
            bias.copy_((bias - mean_K) / spread_K)
            weight.div_(spread_K[:, None])
        folder = str(tmp_path_factory.mktemp("member"))
        save_model(model, folder)
        register_model(folder, name=f"voter-{seed}")
        uris.append(f"models:/voter-{seed}/1")
    return uris


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tones, and a recording that is not there."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [{"recording": "gone.wav"}]
    for number in range(24):
        sf.write(folder / f"{number}.wav", tone(number), 16_000)
        rows.append({"recording": f"{number}.wav"})
    write_manifest(str(folder / "manifest.csv"), pa.Table.from_pylist(rows))
    return str(folder / "manifest.csv")


def rows_of(run: str, folder: Path) -> list[dict]:
    export(run, str(folder / "out.parquet"))
    rows = pq.read_table(folder / "out.parquet").to_pylist(maps_as_pydicts="strict")
    return sorted(rows, key=lambda row: row["segment_id"])


def score_with(uri: str, manifest: str, output: Path) -> str:
    score(manifest, model_uri=uri, output=str(output), local=True, max_rejected=0.1)
    return str(output)


@pytest.fixture(scope="module")
def runs(members, manifest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("runs")
    return [score_with(uri, manifest, folder / str(n)) for n, uri in enumerate(members)]


@pytest.mark.parametrize("vote", ["hard", "soft"])
def test_the_registered_ensemble_scores_as_the_runs_vote(vote, members, runs, manifest, tmp_path):
    registered = register_ensemble(members, name=f"{vote}-voters", vote=vote)
    assert registered.uri == f"models:/{vote}-voters/1"
    scored = score_with(registered.uri, manifest, tmp_path / "scored")
    voted = vote_on_runs(runs, str(tmp_path / "voted"), vote=vote)
    expected = rows_of(voted.run, tmp_path)
    found = rows_of(scored, tmp_path)
    assert [row["emotion"] for row in found] == [row["emotion"] for row in expected]
    assert {row["emotion"] for row in found} == set(EMOTIONS)
    each = [[row["emotion"] for row in rows_of(run, tmp_path)] for run in runs]
    assert any(len(set(votes)) == 3 for votes in zip(*each, strict=True))  # a tie to decide
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["segment_id"] == theirs["segment_id"]
        assert ours["weights_sha256"] == theirs["weights_sha256"]
        assert ours["emotion_scores"] == pytest.approx(theirs["emotion_scores"], abs=1e-6)
    assert voted.num_rejections == 1


def test_dimensions_likewise(manifest, tmp_path, mlflow_folder):
    uris = ["random:demo?seed=1", "random:demo?seed=2"]
    registered = register_ensemble(uris, name="mean-voters")
    assert registered.vote == "mean"
    found = rows_of(score_with(registered.uri, manifest, tmp_path / "scored"), tmp_path)
    runs = [score_with(uri, manifest, tmp_path / str(n)) for n, uri in enumerate(uris)]
    vote_on_runs(runs, str(tmp_path / "voted"))
    for ours, theirs in zip(found, rows_of(str(tmp_path / "voted"), tmp_path), strict=True):
        for dimension in ("arousal", "dominance", "valence"):
            assert ours[dimension] == pytest.approx(theirs[dimension], abs=1e-7)


def test_members_are_pinned_and_shown(members, tmp_path):
    set_alias("voter-2", "champion", "1")
    registered = register_ensemble(
        [*members[:2], "models:/voter-2@champion"], name="pinned", vote="soft"
    )
    assert list(registered.members) == members
    facts = describe_model(registered.uri)
    assert (facts["vote"], facts["task"], facts["targets"]) == ("soft", "emotion", list(EMOTIONS))
    assert [member.split()[0] for member in facts["members"]] == members
    sizes = [describe_model(uri)["num_parameters"] for uri in members]
    assert facts["num_parameters"] == sum(sizes)
    again = register_ensemble(members[::-1], name="pinned", vote="soft")
    assert again.uri == registered.uri
    (version,) = [version for version in list_models() if version.name == "pinned"]
    assert version.weights_sha256 == facts["weights_sha256"]


def test_tools_that_speak_mlflow_alone_can_load_it(members):
    import mlflow.pyfunc

    registered = register_ensemble(members, name="flavoured", vote="soft")
    loaded = mlflow.pyfunc.load_model(resolve_model(registered.uri).location)
    scores = loaded.predict(np.zeros((2, 8000), np.float32))
    assert scores.sum(axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)


def test_what_is_no_ensemble_is_refused(members, tmp_path):
    with pytest.raises(ModelError, match="different tasks"):
        register_ensemble([members[0], "random:demo?seed=0"], name="odd")
    with pytest.raises(ModelError, match="members: 1, but it takes 2 or more"):
        register_ensemble(members[:1], name="odd")
    with pytest.raises(ModelError, match=r"voter-0/1 and models:/voter-0/1 are the same model"):
        register_ensemble([members[0], "models:/voter-0@candidate"], name="odd")
    nested = register_ensemble(members, name="inner", vote="hard").uri
    with pytest.raises(ModelError, match="is an ensemble itself; name its members instead"):
        register_ensemble([nested, members[0]], name="odd")
    with pytest.raises(ModelError, match="is no one network; export its members: models:/voter-0"):
        export_model(nested, str(tmp_path / "model.onnx"))


def test_an_ensemble_by_hand_may_not_contain_itself_nor_changed_weights(members, tmp_path):
    registered = register_ensemble(members, name="by-hand", vote="hard")
    config = read_ensemble(resolve_model(registered.uri).location)
    itself = dataclasses.replace(config.members[0], uri=str(tmp_path / "itself"))
    save_ensemble(dataclasses.replace(config, members=(itself, *config.members[1:])), itself.uri)
    with pytest.raises(ModelError, match="is an ensemble itself"):
        resolve_model(itself.uri)
    changed = dataclasses.replace(config.members[0], weights_sha256="0" * 64)
    folder = str(tmp_path / "changed")
    save_ensemble(dataclasses.replace(config, members=(changed, *config.members[1:])), folder)
    with pytest.raises(ModelError, match="voter-0/1 are not the ones that"):
        resolve_model(folder)
