import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ser_model.models.base import EmotionModel
from ser_model.models.storage import load_model, save_model, weights_sha256
from ser_model.schema import ModelError


@pytest.fixture
def folder(tmp_path: Path, model_maker: Callable[..., EmotionModel]) -> Path:
    save_model(model_maker(), str(tmp_path))
    return tmp_path


def edit_config(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    weights = safetensors.torch.load_file(path)
    change(weights)
    safetensors.torch.save_file(weights, path, metadata=metadata)


@pytest.mark.parametrize("scheme", ["", "memory://models-test"])
@torch.inference_mode()
def test_a_model_comes_back_with_the_same_scores(
    tmp_path: Path, model_maker: Callable[..., EmotionModel], scheme: str
) -> None:
    uri = scheme or str(tmp_path)
    model = model_maker(task="emotion", targets=("anger", "joy"))
    save_model(model, uri)
    loaded = load_model(uri)
    waveform = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    num_samples = torch.tensor([8000, 5000])
    assert loaded.config == model.config
    assert not loaded.training
    assert torch.equal(loaded(waveform, num_samples).scores, model(waveform, num_samples).scores)


def test_the_hash_is_that_of_the_file_and_covers_weights_and_configuration(
    folder: Path, model_maker: Callable[..., EmotionModel]
) -> None:
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    model = model_maker()
    assert weights_sha256(str(folder)) == weights_sha256(model) == digest
    assert weights_sha256(model_maker(pooling="mean")) != digest
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    assert weights_sha256(model) != digest


def test_a_changed_configuration_is_refused(folder: Path) -> None:
    edit_config(folder, pooling="mean")
    with pytest.raises(ModelError, match=r"config.json is not the configuration that"):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "median"}, "pooling is 'median'; allowed are: mean"),
        ({"colour": "red"}, "colour is not known; known are: task"),
        ({"format": "other"}, "format is 'serval'"),
    ],
)
def test_a_configuration_that_is_none_is_refused(
    folder: Path, fields: dict[str, object], message: str
) -> None:
    edit_config(folder, **fields)
    with pytest.raises(ModelError, match=message):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("head.dense.bias"), "head.dense.bias is missing"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "extra is not known"),
        (
            lambda weights: weights.update({"head.dense.bias": torch.zeros(2)}),
            r"head.dense.bias has the shape \[2\], not \[8\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    edit_weights(folder, change)
    with pytest.raises(ModelError, match=message):
        load_model(str(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_or_broken_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x00broken")
    with pytest.raises(ModelError, match=name):
        load_model(str(folder))
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} cannot be read"):
        load_model(str(folder))


def test_a_pickle_is_never_read(folder: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="is no safetensors file"):
        load_model(str(folder))
