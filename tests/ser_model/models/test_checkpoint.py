import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ser_model.models.checkpoint import fit, hub_revision, read_checkpoint
from ser_model.models.pretrained import load_backbone
from ser_model.schema import ModelError

HubFolder = Callable[..., Path]
HubCache = Callable[..., str]


def test_both_names_of_a_weight_norm_and_both_files_are_the_same_weights(
    hub_folder: HubFolder, tmp_path: Path
) -> None:
    folders = [
        hub_folder(tmp_path / f"{weight_norm}-{file}", weight_norm=weight_norm, file=file)
        for weight_norm in ("old", "new")
        for file in ("model.safetensors", "pytorch_model.bin")
    ]
    first, *others = [read_checkpoint(str(folder)) for folder in folders]
    assert first.do_normalize is True
    assert first.revision is None
    for other in others:
        assert other.weights.keys() == first.weights.keys()
        assert all(torch.equal(other.weights[name], first.weights[name]) for name in first.weights)


def test_weights_in_parts_are_put_together(hub_folder: HubFolder, tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "whole", file="pytorch_model.bin")
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    whole = read_checkpoint(str(folder))
    (folder / "pytorch_model.bin").unlink()
    names = sorted(weights)
    torch.save({name: weights[name] for name in names[:9]}, folder / "a.bin")
    torch.save({name: weights[name] for name in names[9:]}, folder / "b.bin")
    index = {name: "a.bin" if name in names[:9] else "b.bin" for name in names}
    index_file = folder / "pytorch_model.bin.index.json"
    index_file.write_text(json.dumps({"weight_map": index}))
    parts = read_checkpoint(str(folder))
    assert parts.weights.keys() == whole.weights.keys()
    (folder / "b.bin").unlink()
    with pytest.raises(ModelError, match=r"has no 'b.bin', which the index"):
        read_checkpoint(str(folder))
    index_file.write_text(json.dumps({"weight_map": {"x": "../whole/a.bin"}}))
    with pytest.raises(ModelError, match="which the index of its weights names"):
        read_checkpoint(str(folder))


def test_a_pickle_with_more_than_tensors_is_not_read(hub_folder: HubFolder, tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, file="pytorch_model.bin")
    torch.save({"weight": Path("object")}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model.bin holds no weights that can be read"):
        read_checkpoint(str(folder))


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_broken_file_is_named(hub_folder: HubFolder, tmp_path: Path, file: str) -> None:
    folder = hub_folder(tmp_path, file=file)
    (folder / file).write_bytes(b"broken")
    with pytest.raises(ModelError, match=f"{file} holds no weights that can be read"):
        read_checkpoint(str(folder))
    (folder / file).unlink()
    with pytest.raises(ModelError, match=r"neither model.safetensors nor pytorch_model.bin"):
        read_checkpoint(str(folder))
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelError, match=r"config.json of .* must hold a mapping"):
        read_checkpoint(str(folder))


@pytest.mark.parametrize("suffix", [".weight_g", "layers.1.attention.k_proj.bias"])
def test_any_weight_that_is_missing_or_has_another_shape_is_an_error(
    hub_folder: HubFolder, tmp_path: Path, suffix: str
) -> None:
    def drop(weights: dict[str, torch.Tensor]) -> None:
        weights.pop(next(name for name in weights if name.endswith(suffix)))

    def misshape(weights: dict[str, torch.Tensor]) -> None:
        weights[next(name for name in weights if name.endswith(suffix))] = torch.zeros(3)

    with pytest.raises(ModelError, match=r"1 differ: wav2vec2.encoder\.\S+ is missing"):
        load_backbone(str(hub_folder(tmp_path / "dropped", edit=drop)))
    with pytest.raises(ModelError, match=r"1 differ: wav2vec2\.\S+ has the shape \[3\], not"):
        load_backbone(str(hub_folder(tmp_path / "misshapen", edit=misshape)))


def test_half_precision_becomes_single_and_what_is_left_over_is_listed(
    hub_folder: HubFolder, tmp_path: Path
) -> None:
    def halve(weights: dict[str, torch.Tensor]) -> None:
        for name in weights:
            weights[name] = weights[name].half()
        weights["lm_head.weight"] = torch.zeros(2)

    checkpoint = read_checkpoint(str(hub_folder(tmp_path, edit=halve)))
    name = "feature_projection.projection.weight"
    expected = {name: torch.zeros(32, 16)}
    found, left_over = fit(checkpoint, expected, probe=name)
    assert found[name].dtype == torch.float32
    assert len(left_over) == len(checkpoint.weights) - 1
    assert "lm_head.weight" in left_over


def test_the_hub_is_read_at_the_commit_that_it_resolves(hub_cache: HubCache) -> None:
    commit = hub_cache("acme/speech")
    assert hub_revision("hf:acme/speech") == ("acme/speech", commit)
    for source in ("acme/speech", "hf:acme/speech", f"hf:acme/speech@{commit}"):
        checkpoint = read_checkpoint(source)
        assert (checkpoint.source, checkpoint.revision) == ("acme/speech", commit)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("acme/other", "acme/other cannot be read from the Hugging Face hub"),
        ("acme/speech@dev", "acme/speech at dev cannot be read from the Hugging Face hub"),
        ("nowhere", "'nowhere' is neither a folder with config.json nor ORG/NAME"),
        ("hf:a/b/c", "'hf:a/b/c' is neither a folder"),
    ],
)
def test_what_is_not_there_is_named(hub_cache: HubCache, source: str, message: str) -> None:
    hub_cache("acme/speech")
    with pytest.raises(ModelError, match=message):
        read_checkpoint(source)
