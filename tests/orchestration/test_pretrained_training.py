"""A training that begins with a checkpoint from the hub, with a weighted sum over its layers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestration import mlflow_store
from orchestration.model_actions import describe_model
from orchestration.model_uris import resolve_model
from orchestration.training import train_recipe
from orchestration.training_record import TrainSummary
from ser_model import storage
from ser_model.manifest import write_manifest
from ser_model.models.base import layer_importance
from ser_model.models.pretrained import load_backbone

BACKBONE = (
    "backbone={kind: speech_transformer, family: wav2vec2, do_normalize: false, hidden_size: 32, "
    "num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 64, feat_extract_norm: layer,"
    " do_stable_layer_norm: true, conv_bias: true, conv_dim: [16, 16, 16, 16, 16, 16, 16], "
    "num_conv_pos_embeddings: 16, num_conv_pos_embedding_groups: 4, layers: weighted_sum, "
    "pretrained: acme/speech}"
)
OVERRIDES = (BACKBONE, "freeze=[front_end, encoder]", "batch_size=4", "max_steps=3", "crop_s=null")


@pytest.fixture
def manifest(tmp_path: Path, write_recording: Callable[..., str]) -> str:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(16):
        level = number % 4 / 3
        name = f"{number}.wav"
        write_recording(tmp_path / name, samples=rng.normal(0, 0.01 + 0.1 * level, 8_000))
        rows.append(
            {
                "segment_id": str(number),
                "recording": name,
                "speaker_id": str(number // 4),
                "split": ("train", "train", "train", "dev")[number // 4],
                **dict.fromkeys(("arousal", "dominance", "valence"), level),
            }
        )
    write_manifest(str(tmp_path / "manifest.jsonl"), pa.Table.from_pylist(rows))
    return str(tmp_path / "manifest.jsonl")


def test_the_trained_model_knows_its_beginning_and_which_layers_count(
    manifest: str, hub_cache: Callable[..., str], mlflow_folder: Path, tmp_path: Path
) -> None:
    commit = hub_cache("acme/speech")
    output = str(tmp_path / "model")
    summary = train_recipe(
        "demo", manifest, output, overrides=OVERRIDES, name="pretrained-weighted"
    )
    assert isinstance(summary, TrainSummary)
    model = resolve_model("models:/pretrained-weighted/1").load()
    backbone = model.config.backbone
    assert (backbone.pretrained, backbone.revision) == ("acme/speech", commit)
    assert backbone.do_normalize
    begun = load_backbone("acme/speech", num_hidden_layers=2).state_dict()
    ended = model.backbone.transformer.state_dict()
    assert all(torch.equal(value, begun[f"transformer.{name}"]) for name, value in ended.items())
    importance = storage.read_json(storage.join(output, "train.json"))["layer_importance"]
    assert importance == pytest.approx(layer_importance(model))
    assert len(set(importance)) > 1, "the weights of the sum are trained, though its layers are not"
    assert describe_model("models:/pretrained-weighted/1")["task"] == "dimensions"
    client = mlflow_store.open_client()
    (version,) = client.search_model_versions("name='pretrained-weighted'")
    names = {file.path for file in client.list_artifacts(version.run_id)}
    assert {"layer-importance.json", "layer-importance.png"} <= names
