"""bfloat16 against float32 on real speech: a CCC of at least .999 in every dimension.

The backbones are random, their batch norms and heads are fitted to the recordings: so the scores
follow the acted emotions, as those of a trained model do, and differ from segment to segment. What
bfloat16 changes is nearly the same for all segments (its rounded weights shift every score alike).
Layer-norm models on CPUs, where the front end is in bfloat16 too, are not held to it: there the
least CCC was .99897 in these circumstances.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from ser_model.batching import Item
from ser_model.metrics.concordance import concordance_cc
from ser_model.models import packed_forward
from ser_model.models.base import BackboneConfig, EmotionModel, ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.head import HeadConfig
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.predict import Predictor
from ser_model.schema import CLEAN, DIMENSIONS

SMALL = {
    "do_normalize": True,
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "conv_dim": (64,) * 7,
    "num_conv_pos_embeddings": 64,
    "num_conv_pos_embedding_groups": 8,
}
BACKBONES: dict[str, BackboneConfig] = {
    "layer-norm": SpeechTransformerConfig(
        family="wav2vec2",
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        **SMALL,
    ),
    "group-norm": SpeechTransformerConfig(family="hubert", **SMALL),
    "cnn14": Cnn14Config(channels=(16, 32, 64), num_pools=3),
}
TRUTH = {
    "neutral": (0.3, 0.5, 0.5),
    "calm": (0.1, 0.5, 0.6),
    "happiness": (0.8, 0.6, 0.9),
    "sadness": (0.2, 0.2, 0.2),
    "anger": (0.9, 0.9, 0.1),
    "fear": (0.8, 0.2, 0.2),
    "disgust": (0.5, 0.6, 0.2),
    "surprise": (0.8, 0.5, 0.6),
}
"""What the emotions are taken for; only that scores spread matters here."""

Items = list[Item]


@pytest.fixture(scope="module")
def recordings(real_data: Path) -> tuple[Items, np.ndarray]:
    """72 segments of 23 actors, and their dimensions [72, 3]."""
    with (real_data / "ravdess" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))[:1368:19]
    items = [
        (row["file"], CLEAN, sf.read(real_data / "ravdess" / row["file"], dtype="float32")[0], None)
        for row in rows
    ]
    return items, np.array([TRUTH[row["emotion"]] for row in rows])


def predict(model: EmotionModel, items: Items, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores [72, 3] and embeddings [72, D]."""
    outcomes = list(Predictor(model, dtype=dtype, embeddings=True).predict(items))
    found = {outcome.segment_id: outcome for outcome in outcomes}
    rows = [found[segment_id] for segment_id, *_ in items]
    return np.array([row.dimensions for row in rows]), np.array([row.embedding for row in rows])


def fit_batch_norms(model: EmotionModel, items: Items) -> None:
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all segments
        norm.train()
    with torch.no_grad():
        for _, _, waveform, _ in items:
            model(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
    model.eval()


def fit_head(model: EmotionModel, embeddings: np.ndarray, truth: np.ndarray) -> None:
    """Random features of the standardised embedding, then ridge regression."""
    rng = np.random.default_rng(0)
    mean, spread = embeddings.mean(axis=0), embeddings.std(axis=0) + 1e-6
    dense = rng.normal(size=(32, embeddings.shape[1])) / np.sqrt(embeddings.shape[1]) / spread
    features = np.tanh((embeddings - mean) @ dense.T)
    centre = features.mean(axis=0)
    gram = (features - centre).T @ (features - centre)
    out = np.linalg.solve(gram + 10.0 * np.eye(32), (features - centre).T @ truth).T
    with torch.no_grad():
        model.head.dense.weight.copy_(torch.from_numpy(dense))
        model.head.dense.bias.copy_(torch.from_numpy(-dense @ mean))
        model.head.out_proj.weight.copy_(torch.from_numpy(out))
        model.head.out_proj.bias.copy_(torch.from_numpy(truth.mean(axis=0) - out @ centre))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("backbone", "pooling", "front_end"),
    [
        pytest.param("layer-norm", "mean", torch.float16, marks=pytest.mark.slow),
        pytest.param("group-norm", "attentive_statistics", torch.float16, marks=pytest.mark.slow),
        ("group-norm", "attentive_statistics", torch.bfloat16),
        ("cnn14", "max_plus_mean", None),
    ],
)
def test_bfloat16_scores_agree_with_float32_scores(
    backbone: str,
    pooling: str,
    front_end: torch.dtype | None,
    recordings: tuple[Items, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # float16 is what a GPU's front end runs in: here the CPU does the same arithmetic.
    monkeypatch.setitem(packed_forward.FRONT_END_DTYPES, ("cpu", torch.bfloat16), front_end)
    items, truth = recordings
    model = build_model(
        ModelConfig(
            task="dimensions",
            targets=DIMENSIONS,
            backbone=BACKBONES[backbone],
            pooling=pooling,
            head=HeadConfig(num_hidden=32, activation="tanh"),
        ),
        seed=0,
    )
    fit_batch_norms(model, items)
    fit_head(model, predict(model, items, "float32")[1], truth)
    exact, _ = predict(model, items, "float32")
    rounded, _ = predict(model, items, "bfloat16")
    assert not np.array_equal(exact, rounded)
    for index, dimension in enumerate(DIMENSIONS):
        ccc = concordance_cc(exact[:, index], rounded[:, index])
        spread = exact[:, index].std()
        largest = np.abs(exact[:, index] - rounded[:, index]).max()
        print(  # noqa: T201  the figures are what the test is for
            f"{backbone} {front_end} {dimension}: CCC {ccc:.5f}, standard deviation {spread:.3f}, "
            f"largest difference {largest:.4f}"
        )
        assert spread > 0.02, "the scores must differ from segment to segment"
        assert ccc >= 0.999


def test_on_a_gpu_the_front_end_runs_in_float16() -> None:
    dtypes = packed_forward.FRONT_END_DTYPES
    assert dtypes == {("cuda", torch.bfloat16): torch.float16}
