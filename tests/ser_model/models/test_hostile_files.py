"""Model files made by somebody who means harm: no code of theirs runs, and no size is believed."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ser_model.models import checkpoint, onnx_model, storage
from ser_model.models.base import build_model
from ser_model.models.checkpoint import read_checkpoint
from ser_model.models.onnx_model import load_onnx_model
from ser_model.models.storage import load_model, save_model
from ser_model.schema import DIMENSIONS, ModelError
from ser_model.training.recipe import load_recipe

HubFolder = Callable[..., Path]


class Touch:
    """What makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (str(self.path),)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    config = load_recipe("demo", ["task=dimensions"]).model_config(DIMENSIONS)
    save_model(build_model(config, 0), str(tmp_path / "model"))
    return tmp_path / "model"


def test_a_pickle_that_would_run_code_does_not(hub_folder: HubFolder, tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "model", file="pytorch_model.bin")
    torch.save({"weight": Touch(tmp_path / "touched")}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model.bin holds no weights that can be read"):
        read_checkpoint(str(folder))
    assert not (tmp_path / "touched").exists()


def test_code_that_a_repository_brings_is_left_alone(hub_folder: HubFolder, tmp_path: Path) -> None:
    own = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    folder = hub_folder(tmp_path / "model", auto_map=own)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')\n")
    assert load_model(str(folder)).targets == DIMENSIONS
    assert not (tmp_path / "touched").exists()


def safetensors_bytes(header: bytes, *, num_header_bytes: int | None = None) -> bytes:
    return struct.pack("<Q", num_header_bytes or len(header)) + header + bytes(8)


def entry(shape: list[int], offsets: list[int]) -> bytes:
    return json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        safetensors_bytes(b"{}", num_header_bytes=1 << 62),
        safetensors_bytes(entry([2], [0, 1 << 40])),
        safetensors_bytes(entry([1 << 40], [0, 8])),
        safetensors_bytes(entry([1 << 32, 1 << 32], [0, 8])),
        safetensors_bytes(entry([2], [8, 0])),
        safetensors_bytes(b"[" * 100_000),
    ],
    ids=["header", "offset", "shape", "overflow", "backwards", "nested"],
)
def test_sizes_that_a_file_claims_are_held_against_its_own(
    model_folder: Path, hub_folder: HubFolder, tmp_path: Path, data: bytes
) -> None:
    (model_folder / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="is no safetensors file"):
        load_model(str(model_folder))
    folder = hub_folder(tmp_path / "hub")
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="holds no weights that can be read"):
        read_checkpoint(str(folder))


def test_what_is_too_large_is_not_read(
    model_folder: Path, hub_folder: HubFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "MAX_JSON_BYTES", 100)
    with pytest.raises(ModelError, match=r"config.json .* larger than 100 bytes"):
        read_checkpoint(str(hub_folder(tmp_path / "hub")))
    monkeypatch.setattr(onnx_model, "MAX_ONNX_BYTES", 100)
    (tmp_path / "model.onnx").write_bytes(bytes(101))
    with pytest.raises(ModelError, match="larger than 100 bytes"):
        load_onnx_model(f"onnx:{tmp_path / 'model.onnx'}")
    monkeypatch.setattr(storage, "MAX_JSON_BYTES", 100)
    with pytest.raises(ModelError, match=r"config.json .* larger than 100 bytes"):
        load_model(str(model_folder))


@pytest.mark.parametrize("location", ["beside.bin", "../outside.bin", "absolute"])
def test_an_onnx_file_cannot_take_its_weights_from_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    onnx = pytest.importorskip("onnx")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("here/beside.bin", "outside.bin"):
        (tmp_path / name).write_bytes(bytes(16))
    place = str(tmp_path / "outside.bin") if location == "absolute" else location
    weight = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    weight.external_data.add(key="location", value=place)
    ends = [onnx.helper.make_tensor_value_info(name, 1, [4]) for name in ("signal", "scores")]
    node = onnx.helper.make_node("Add", ["signal", "w"], ["scores"])
    graph = onnx.helper.make_graph([node], "graph", ends[:1], ends[1:], [weight])
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    Path("model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"model\.onnx is no ONNX file that onnxruntime"):
        load_onnx_model("onnx:model.onnx")
