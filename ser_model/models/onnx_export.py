"""Models as ONNX files: one graph from samples to scores, for runtimes without torch.

Input `signal` [batch, time], float32 samples at 16 kHz; outputs `hidden_states` [batch, D], the
pooled embedding, and `logits` [batch, K], the scores. Batch and time are free, but all rows of a
batch have the full length: there is no mask for padding. Normalisation and spectrogram are part of
the graph. What Serval needs to score with the file is in its metadata.

Shapes: B batch, N samples, W samples of a window, T frames, F frequencies, M mel bands, C channels,
P pieces of 30 s, D hidden features, K scores.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_model.models.base import EmotionModel
from ser_model.models.cnn14 import Cnn14
from ser_model.models.logmel import POWER_FLOOR
from ser_model.models.speech_transformer import SpeechTransformer
from ser_model.models.whisper_encoder import FRAME_SAMPLES, WhisperEncoder
from ser_model.models.whisper_logmel import HOP_SAMPLES, PIECE_SAMPLES, compress
from ser_model.schema import ConfigError, ModelError

INPUT_NAME = "signal"
EMBEDDING_NAME = "hidden_states"
SCORES_NAME = "logits"
OPSET = 18
MAX_ONNX_BYTES = (1 << 31) - 1
"""Protocol buffers, which the format is made of, end there."""

TASK_KEY = "serval.task"
TARGETS_KEY = "serval.targets"
MIN_SAMPLES_KEY = "serval.min_samples"
CONFIG_KEY = "serval.config"

_EXAMPLE_SHAPE = (2, 2 * PIECE_SAMPLES + 12_345)
"""No size is 1, which the exporter would take for a constant: not even the number of pieces."""


def require_onnx() -> None:
    """Check that the packages of the extra `onnx` are here.

    Raises:
        ConfigError: one is not.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise ConfigError(f"{package} is not installed; pip install 'serval[onnx]'")


def export_onnx(model: EmotionModel) -> bytes:
    """Return the ONNX file of a model.

    Args:
        model: with a CNN14, speech transformer or Whisper backbone; in eval mode, on a CPU.

    Raises:
        ConfigError: the extra `onnx` is not installed.
        ModelError: the backbone cannot be exported, or the file would exceed MAX_ONNX_BYTES.
    """
    frames = _frames_of(model)
    num_bytes = sum(4 * weight.numel() for weight in model.state_dict().values())
    if num_bytes > MAX_ONNX_BYTES:
        raise ModelError(f"the weights are {num_bytes / 1e9:.1f} GB; an ONNX file ends at 2 GB")
    require_onnx()
    dynamic = torch.export.Dim.DYNAMIC
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            _Graph(model, frames).eval(),
            (torch.zeros(_EXAMPLE_SHAPE),),
            input_names=[INPUT_NAME],
            output_names=[EMBEDDING_NAME, SCORES_NAME],
            dynamic_shapes=({0: dynamic, 1: dynamic},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "this exporter returns the program"
    program.model.metadata_props.update(_metadata(model))
    data: bytes = program.model_proto.SerializeToString()
    return data


class _Graph(nn.Module):
    """What is exported: the backbone in exportable form, the pooling and the head."""

    def __init__(self, model: EmotionModel, frames: nn.Module) -> None:
        super().__init__()
        self.frames, self.pooling, self.head = frames, model.pooling, model.head

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Return embedding_BD and scores_BK."""
        hidden_BTD, mask_BT = self.frames(signal)
        pooled_BD = self.pooling(hidden_BTD, mask_BT)
        return pooled_BD, self.head(pooled_BD)


class _TransformerFrames(nn.Module):
    """`SpeechTransformer` for rows of full length, where its masks are all true."""

    def __init__(self, backbone: SpeechTransformer) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, signal_BN: Tensor) -> tuple[Tensor, Tensor]:
        num_samples_B = torch.full((signal_BN.shape[0],), signal_BN.shape[1])
        signal_BN, _ = self.backbone.prepare(signal_BN, num_samples_B)
        transformer = self.backbone.transformer
        features_BTC = transformer.feature_extractor(signal_BN).transpose(1, 2)
        projected = transformer.feature_projection(features_BTC)
        # HuBERT returns the projection alone, the others also the normalised features.
        hidden_BTD = projected[0] if isinstance(projected, tuple) else projected
        hidden_BTD = self.backbone._encode(hidden_BTD, None)
        return hidden_BTD, _all_true(hidden_BTD)


class _Cnn14Frames(nn.Module):
    """`Cnn14` behind a spectrogram of matrix products."""

    def __init__(self, backbone: Cnn14) -> None:
        super().__init__()
        self.backbone = backbone
        self.power = _PowerSpectrum(backbone.logmel.window_N, backbone.logmel.hop_samples)

    def forward(self, signal_BN: Tensor) -> tuple[Tensor, Tensor]:
        mel_BTM = self.power(signal_BN) @ self.backbone.logmel.filters_FM
        logmel_BTM = 10.0 * mel_BTM.clamp(min=POWER_FLOOR).log10()
        num_frames_B = torch.full((signal_BN.shape[0],), logmel_BTM.shape[1])
        hidden_BTD, num_frames_B = self.backbone(logmel_BTM, num_frames_B)
        return hidden_BTD, _all_true(hidden_BTD)


class _WhisperFrames(nn.Module):
    """`WhisperEncoder` with all pieces of a row in one batch."""

    def __init__(self, backbone: WhisperEncoder) -> None:
        super().__init__()
        self.backbone = backbone
        self.power = _PowerSpectrum(backbone.logmel.window_N, HOP_SAMPLES)

    def forward(self, signal_BN: Tensor) -> tuple[Tensor, Tensor]:
        num_rows, num_samples = signal_BN.shape
        num_pieces = (num_samples + PIECE_SAMPLES - 1) // PIECE_SAMPLES
        padded_BN = F.pad(signal_BN, (0, num_pieces * PIECE_SAMPLES - num_samples))
        power_PTF = self.power(padded_BN.reshape(num_rows * num_pieces, PIECE_SAMPLES))[:, :-1]
        mel_PMT = (power_PTF @ self.backbone.logmel.filters_FM).transpose(1, 2)
        hidden_PTD = self.backbone._encode(compress(mel_PMT))
        hidden_BTD = hidden_PTD.reshape(num_rows, -1, hidden_PTD.shape[2])
        num_frames = (num_samples + FRAME_SAMPLES - 1) // FRAME_SAMPLES
        hidden_BTD = hidden_BTD[:, :num_frames]
        return hidden_BTD, _all_true(hidden_BTD)


class _PowerSpectrum(nn.Module):
    """Power of the short-time Fourier transform as a matrix product; ends are reflected.

    In float64: a sum over a whole window in float32 has more rounding noise than a fast transform,
    and the logarithm behind it makes the noise of weak bands large.
    """

    def __init__(self, window_N: Tensor, hop_samples: int) -> None:
        super().__init__()
        self._hop_samples = hop_samples
        self._num_window = len(window_N)
        spectrum_WF = torch.fft.rfft(torch.diag(window_N.double()))
        self.real_WF: Tensor
        self.imaginary_WF: Tensor
        self.register_buffer("real_WF", spectrum_WF.real.contiguous())
        self.register_buffer("imaginary_WF", spectrum_WF.imag.contiguous())

    def forward(self, signal_BN: Tensor) -> Tensor:
        """Return power_BTF, frame t around sample t * hop."""
        margin = self._num_window // 2
        padded_BN = F.pad(signal_BN[:, None], (margin, margin), mode="reflect")[:, 0]
        num_frames = signal_BN.shape[1] // self._hop_samples + 1
        begin_T1 = torch.arange(num_frames)[:, None] * self._hop_samples
        frames_BTW = padded_BN[:, begin_T1 + torch.arange(self._num_window)].double()
        power_BTF = (frames_BTW @ self.real_WF).square() + (frames_BTW @ self.imaginary_WF).square()
        return power_BTF.float()


def _all_true(hidden_BTD: Tensor) -> Tensor:
    return torch.ones_like(hidden_BTD[..., 0], dtype=torch.bool)


def _frames_of(model: EmotionModel) -> nn.Module:
    if model.uses_text:
        raise ModelError("a model that reads text cannot be exported to ONNX yet")
    backbone = model.backbone
    if isinstance(backbone, SpeechTransformer):
        return _TransformerFrames(backbone)
    if isinstance(backbone, Cnn14):
        return _Cnn14Frames(backbone)
    if isinstance(backbone, WhisperEncoder):
        return _WhisperFrames(backbone)
    raise ModelError(
        f"a model with the backbone {model.config.backbone.kind!r} cannot be exported to ONNX: "
        "its features are computed by a program, not by a network"
    )


def _metadata(model: EmotionModel) -> dict[str, str]:
    return {
        TASK_KEY: model.task,
        TARGETS_KEY: json.dumps(list(model.targets)),
        MIN_SAMPLES_KEY: str(model.min_samples),
        CONFIG_KEY: json.dumps(dataclasses.asdict(model.config), sort_keys=True),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter says of torch's own insides and of torchvision."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
