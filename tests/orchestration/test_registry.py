import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestration.model_actions import describe_model
from orchestration.model_uris import ResolvedModel, resolve_model
from orchestration.promotion import promote
from orchestration.registry import list_models, register_model, set_alias
from ser_model import storage
from ser_model.models.storage import load_model, save_model, weights_sha256
from ser_model.schema import ModelError


def write_model(folder: Path, seed: int) -> str:
    save_model(resolve_model(f"random:demo?seed={seed}").load(), str(folder))
    return str(folder)


@pytest.fixture
def registered(mlflow_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A registered model of its own for each test; returns its name."""
    name = re.sub(r"\W+", "-", request.node.name)
    register_model(write_model(tmp_path / "model", seed=1), name=name)
    return name


def files_of(resolved: ResolvedModel) -> Path:
    return Path(resolved.location)


def test_a_registered_model_comes_back_with_the_same_scores(
    registered: str, tmp_path: Path
) -> None:
    resolved = resolve_model(f"models:/{registered}@candidate")
    assert resolved.uri == f"models:/{registered}/1"
    assert resolved.version == f"{registered}/1"
    assert resolved.weights_sha256 == weights_sha256(str(tmp_path / "model"))
    waveform, num_samples = torch.full((1, 8000), 0.1), torch.tensor([8000])
    expected = load_model(str(tmp_path / "model"))(waveform, num_samples).scores
    assert torch.equal(resolved.load()(waveform, num_samples).scores, expected)


def test_what_is_stored_is_an_mlflow_model_without_pickle(registered: str) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model

    folder = files_of(resolve_model(f"models:/{registered}/1"))
    names = {path.name for path in folder.iterdir()}
    assert {"MLmodel", "config.json", "model.safetensors", "input_example.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".bin", ".pt"))]
    description = Model.load(str(folder))
    assert description.flavors["serval"]["task"] == "dimensions"
    assert description.signature is not None
    example = np.asarray(description.load_input_example(str(folder)), dtype=np.float32)
    scores = mlflow.pyfunc.load_model(str(folder)).predict(example)
    assert scores.shape == (1, 3)
    assert np.isfinite(scores).all()


def test_the_same_weights_are_registered_once(registered: str, tmp_path: Path) -> None:
    again = register_model(str(tmp_path / "model"), name=registered)
    other = register_model(write_model(tmp_path / "other", seed=2), name=registered)
    assert (again, other) == ("1", "2")
    versions = [version for version in list_models() if version.name == registered]
    assert [(version.version, version.aliases) for version in versions] == [
        ("2", ("candidate",)),
        ("1", ()),
    ]


def test_an_alias_moves_from_version_to_version(registered: str, tmp_path: Path) -> None:
    register_model(write_model(tmp_path / "other", seed=2), name=registered)
    champion = f"models:/{registered}@champion"
    set_alias(registered, "champion", "1")
    assert resolve_model(champion).uri == f"models:/{registered}/1"
    promoted = promote(f"models:/{registered}@candidate", "champion", override="a test")
    assert promoted.uri == f"models:/{registered}/2"
    assert resolve_model(champion).uri == f"models:/{registered}/2"


def test_weights_that_were_changed_after_registration_are_refused(registered: str) -> None:
    resolved = resolve_model(f"models:/{registered}/1")
    write_model(files_of(resolved), seed=9)
    with pytest.raises(ModelError, match="are not the ones registered"):
        resolve_model(f"models:/{registered}/1")
    with pytest.raises(ModelError, match="have changed since they were resolved"):
        resolved.load()


def test_a_folder_is_a_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path, seed=3)
    resolved = resolve_model(folder)
    assert resolved.uri == resolved.location == folder
    assert resolved.weights_sha256.startswith(resolved.version)
    assert weights_sha256(resolved.load()) == resolved.weights_sha256


def test_a_folder_in_an_object_store_is_a_model(memory: str) -> None:
    save_model(resolve_model("random:demo").load(), storage.join(memory, "model"))
    resolved = resolve_model(storage.join(memory, "model"))
    assert resolved.weights_sha256 == resolve_model("random:demo?seed=0").weights_sha256
    assert weights_sha256(resolved.load()) == resolved.weights_sha256


def test_an_untrained_model_depends_on_its_seed_alone() -> None:
    first, again, other = (resolve_model(f"random:demo?seed={seed}") for seed in (0, 0, 1))
    assert first == again
    assert first.weights_sha256 != other.weights_sha256
    assert weights_sha256(first.load()) == first.weights_sha256
    assert describe_model(first.uri)["targets"] == ["arousal", "dominance", "valence"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nowhere", r"no model 'nowhere'; known are: models:/NAME/VERSION"),
        ("random:nothing", r"random:RECIPE\?seed=0 with one of the recipes: .*demo"),
        ("random:demo?seed=x", r"random:RECIPE\?seed=0"),
        ("random:demo?sead=1", r"random:RECIPE\?seed=0"),
        ("models:/only-a-name", "is no model URI; known are"),
    ],
)
def test_an_unknown_uri_lists_the_known_ones(mlflow_folder: Path, uri: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve_model(uri)


@pytest.mark.parametrize("uri", ["models:/absent/1", "models:/absent@champion"])
def test_an_unknown_model_lists_the_registered_ones(registered: str, uri: str) -> None:
    with pytest.raises(ModelError, match=rf"no model {uri} in sqlite:.*registered are: models:/"):
        resolve_model(uri)


def test_an_unknown_version_is_refused_where_it_is_promoted(registered: str) -> None:
    with pytest.raises(ModelError, match=f"no model models:/{registered}/7"):
        promote(f"models:/{registered}/7", "champion")
    with pytest.raises(ModelError, match="is not in the registry"):
        promote("random:demo", "champion")


def test_a_name_that_would_not_fit_into_a_uri_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be of letters"):
        register_model(str(tmp_path), name="a/b")


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.mlflow_store import shown_uri

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:secret@host/mlflow")
    assert shown_uri() == "postgresql://host/mlflow"


def test_the_default_store_is_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.mlflow_store import tracking_uri

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"


def test_a_store_that_was_not_finished_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def die(self: MlflowClient, max_results: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(MlflowClient, "search_experiments", die)
        list_models()
    assert list(tmp_path.iterdir()) == []
    assert list_models() == []
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_the_artifacts_are_beside_the_database(registered: str, mlflow_folder: Path) -> None:
    folder = files_of(resolve_model(f"models:/{registered}/1"))
    assert folder.is_relative_to(mlflow_folder / "mlartifacts")
    assert json.loads((folder / "config.json").read_text())["format"] == "serval"


@pytest.mark.parametrize("kind", ["folder", "hub"])
def test_a_model_in_the_hubs_layout_is_found_imported_and_scores_the_same(
    mlflow_folder: Path,
    hub_folder: Callable[..., Path],
    hub_cache: Callable[..., str],
    tmp_path: Path,
    kind: str,
) -> None:
    if kind == "folder":
        source = pinned = str(hub_folder(tmp_path / "released"))
    else:
        pinned = f"hf:acme/emotion@{hub_cache('acme/emotion')}"
        source = "hf:acme/emotion"
    resolved = resolve_model(source)
    assert resolved.uri == resolved.location == pinned
    assert resolve_model(pinned) == resolved
    assert describe_model(source)["targets"] == ["arousal", "dominance", "valence"]
    waveform, num_samples = torch.full((1, 8000), 0.1), torch.tensor([8000])
    with torch.inference_mode():
        expected = resolved.load()(waveform, num_samples).scores
        name = f"released-{kind}"
        assert register_model(source, name=name) == "1"
        assert register_model(source, name=name) == "1"
        imported = resolve_model(f"models:/{name}/1")
        assert torch.equal(imported.load()(waveform, num_samples).scores, expected)
    assert imported.weights_sha256 == resolved.weights_sha256


def test_what_the_hub_does_not_have_is_named(hub_cache: Callable[..., str]) -> None:
    hub_cache("acme/emotion")
    with pytest.raises(ModelError, match="acme/nothing cannot be read from the Hugging Face hub"):
        resolve_model("hf:acme/nothing")
