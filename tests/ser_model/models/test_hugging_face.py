import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from ser_model.models.storage import load_model, save_model, weights_sha256
from ser_model.schema import DIMENSIONS, ModelError

HubFolder = Callable[..., Path]


def plain_scores(folder: Path, rows: list[torch.Tensor], labels: int) -> torch.Tensor:
    """What the model card of the released checkpoint computes, file by file."""
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    mapping = json.loads((folder / "config.json").read_text())
    encoder = Wav2Vec2Model(Wav2Vec2Config.from_dict(mapping)).eval()
    prefix = "wav2vec2."
    own = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
    encoder.load_state_dict(own)
    extract = Wav2Vec2FeatureExtractor(do_normalize=True)
    scores = []
    for row in rows:
        inputs = extract(row.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
        pooled = encoder(inputs).last_hidden_state.mean(dim=1)
        hidden = pooled @ weights["classifier.dense.weight"].T + weights["classifier.dense.bias"]
        out = hidden.tanh() @ weights["classifier.out_proj.weight"].T
        scores.append(out + weights["classifier.out_proj.bias"])
    return torch.cat(scores)


@pytest.fixture
def rows() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(n, generator=generator) for n in (16_000, 400, 9_000)]


def score(folder: Path | str, rows: list[torch.Tensor]) -> torch.Tensor:
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return load_model(str(folder))(batch, torch.tensor([len(row) for row in rows])).scores


@torch.inference_mode()
@pytest.mark.parametrize("weight_norm", ["old", "new"])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_released_model_scores_as_its_card_does(
    hub_folder: HubFolder, tmp_path: Path, rows: list[torch.Tensor], weight_norm: str, file: str
) -> None:
    plain = hub_folder(tmp_path / "plain", weight_norm="new", file="pytorch_model.bin")
    folder = hub_folder(tmp_path / "own", weight_norm=weight_norm, file=file)
    expected = plain_scores(plain, rows, labels=3)
    torch.testing.assert_close(score(folder, rows), expected, rtol=0.0, atol=1e-5)


@torch.inference_mode()
def test_a_released_model_is_saved_and_comes_back(
    hub_folder: HubFolder, tmp_path: Path, rows: list[torch.Tensor]
) -> None:
    folder = hub_folder(tmp_path / "hub")
    model = load_model(str(folder))
    assert (model.task, model.targets, model.training) == ("dimensions", DIMENSIONS, False)
    save_model(model, str(tmp_path / "saved"))
    assert torch.equal(score(tmp_path / "saved", rows), score(folder, rows))
    assert weights_sha256(load_model(str(folder))) == weights_sha256(str(tmp_path / "saved"))


@torch.inference_mode()
def test_outputs_are_brought_into_the_order_of_their_names(
    hub_folder: HubFolder, tmp_path: Path, rows: list[torch.Tensor]
) -> None:
    # The same weights under other names: the first output is Arousal, the second Valence.
    folder = hub_folder(tmp_path / "avd", labels=("Arousal", "Valence", "Dominance"))
    plain = score(hub_folder(tmp_path / "adv"), rows)
    assert torch.equal(score(folder, rows), plain[:, [0, 2, 1]])
    folder = hub_folder(tmp_path / "emotion", labels=("sad", "angry", "happy"))
    model = load_model(str(folder))
    assert (model.task, model.targets) == ("emotion", ("angry", "happy", "sad"))
    assert torch.equal(score(folder, rows), plain[:, [1, 2, 0]])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": ("LABEL_0", "LABEL_1")}, "does not tell what its outputs mean: LABEL_0"),
        ({"labels": ("sad", "sad")}, "does not tell what its outputs mean: sad, sad"),
        ({"id2label": None}, "has no id2label"),
        ({"id2label": {"1": "a", "2": "b"}}, "must name the outputs from 0 on"),
        ({"id2label": {"0": "a", "1": "b"}}, "out_proj.weight of .* has 3 outputs, and id2label"),
        ({"pooling_mode": "median"}, "pooling_mode 'median' of .* is none of mean, sum, max"),
        ({"model_type": "bert"}, "model_type 'bert' is none of wav2vec2"),
        (
            {"edit": lambda weights: weights.pop("classifier.dense.bias")},
            "no emotion model that Serval knows: it has no classifier.dense.bias",
        ),
        (
            {"edit": lambda weights: weights.update({"classifier.dense.bias": torch.zeros(2)})},
            "the head of .* does not fit",
        ),
        (
            {"edit": lambda weights: weights.pop("wav2vec2.encoder.pos_conv_embed.conv.weight_v")},
            r"pos_conv_embed.conv.parametrizations.weight.original1 is missing",
        ),
    ],
)
def test_what_is_no_such_model_is_refused(
    hub_folder: HubFolder, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(str(hub_folder(tmp_path, **fields)))


@torch.inference_mode()
def test_another_pooling_is_that_of_the_configuration(
    hub_folder: HubFolder, tmp_path: Path, rows: list[torch.Tensor]
) -> None:
    folder = hub_folder(tmp_path, pooling_mode="max")
    assert load_model(str(folder)).config.pooling == "max"


PUBLISHED = "6eba34a2485ea31cb03600241787c3a5edab8626"
"""The commit of the released checkpoint."""


@pytest.mark.online
@pytest.mark.skipif("SERVAL_ONLINE" not in os.environ, reason="set SERVAL_ONLINE=1 for the hub")
@torch.inference_mode()
def test_the_released_checkpoint_has_its_published_scores() -> None:
    model = load_model(f"hf:audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim@{PUBLISHED}")
    silence = model(torch.zeros(1, 16_000), torch.tensor([16_000])).scores
    published = torch.tensor([[0.5460754, 0.6062266, 0.40431657]])
    torch.testing.assert_close(silence, published, rtol=0.0, atol=1e-4)
    # The same of its ONNX version, which is given noise as it is, not normalised.
    noise = np.random.RandomState(0).normal(size=(1, 16_000)).astype(np.float32)
    inputs = torch.from_numpy(noise)
    scores = model.score(inputs, torch.tensor([16_000])).scores
    published = torch.tensor([[0.6563389, 0.630771, 0.4762332]])
    torch.testing.assert_close(scores, published, rtol=0.0, atol=1e-4)
