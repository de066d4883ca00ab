"""The network that an ONNX file holds: a model for rows of full length, of what can be exported.

Shapes: B batch, N samples, W samples of a window, T frames, F frequencies, M mel bands, C channels,
P pieces of 30 s, L tokens, D hidden features, K scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_model.models.base import EmotionModel
from ser_model.models.cnn14 import Cnn14
from ser_model.models.fusion import Fusion
from ser_model.models.logmel import POWER_FLOOR
from ser_model.models.speech_transformer import SpeechTransformer
from ser_model.models.text_transformer import TextTransformer
from ser_model.models.tokeniser import Tokens
from ser_model.models.whisper_encoder import FRAME_SAMPLES, WhisperEncoder
from ser_model.models.whisper_logmel import HOP_SAMPLES, PIECE_SAMPLES, compress
from ser_model.schema import ModelError


def make_graph(model: EmotionModel) -> nn.Module:
    """Return the network of a model, with its weights, in eval mode.

    It takes signal_BN, id_BL or both, in this order, as the model hears, reads or does both, and
    returns embedding_BD and scores_BK.

    Raises:
        ModelError: the backbone cannot be exported.
    """
    if isinstance(model.backbone, TextTransformer):
        return _Graph(model, _Tokens(model.backbone)).eval()
    frames = _frames_of(model)
    if model.fusion is None:
        return _Graph(model, frames).eval()
    return _FusedGraph(model, frames, _Tokens(model.fusion.text), model.fusion).eval()


class _Graph(nn.Module):
    """A model of audio or of text: frames or tokens, the pooling and the head."""

    def __init__(self, model: EmotionModel, frames: nn.Module) -> None:
        super().__init__()
        self.frames, self.pooling, self.head = frames, model.pooling, model.head

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return embedding_BD and scores_BK of signal_BN or id_BL."""
        pooled_BD = self.pooling(*self.frames(inputs))
        return pooled_BD, self.head(pooled_BD)


class _FusedGraph(_Graph):
    """A model of both."""

    def __init__(
        self, model: EmotionModel, frames: nn.Module, tokens: nn.Module, fusion: Fusion
    ) -> None:
        super().__init__(model, frames)
        self.tokens, self.fusion = tokens, fusion

    def forward(self, signal_BN: Tensor, id_BL: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # it has two inputs
        """Return embedding_BD and scores_BK."""
        text_BD = self.fusion.pooling(*self.tokens(id_BL))
        shifts = self.fusion.block_shifts(text_BD)
        hidden_BTD, mask_BT = self.frames(signal_BN, shifts) if shifts else self.frames(signal_BN)
        pooled_BD = self.fusion.join(self.pooling(hidden_BTD, mask_BT), text_BD)
        return pooled_BD, self.head(pooled_BD)


class _Tokens(nn.Module):
    """`TextTransformer` for tokens; which of them are special is told by their places."""

    def __init__(self, text: TextTransformer) -> None:
        super().__init__()
        self.text = text
        is_word_L = text.tokeniser(["a"]).is_word[0].tolist()
        if not any(is_word_L):
            raise ModelError("the tokeniser makes no token of 'a': where would special ones stand?")
        self._num_before = is_word_L.index(True)
        self._num_behind = is_word_L[::-1].index(True)

    def forward(self, id_BL: Tensor) -> tuple[Tensor, Tensor]:
        place_BL = torch.arange(id_BL.shape[1]).expand(id_BL.shape)
        is_word_BL = (place_BL >= self._num_before) & (place_BL < id_BL.shape[1] - self._num_behind)
        return self.text.encode(
            Tokens(ids=id_BL, is_token=torch.ones_like(is_word_BL), is_word=is_word_BL)
        )


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

    def forward(self, signal_BN: Tensor, shifts: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        mel_BTM = self.power(signal_BN) @ self.backbone.logmel.filters_FM
        logmel_BTM = 10.0 * mel_BTM.clamp(min=POWER_FLOOR).log10()
        num_frames_B = torch.full((signal_BN.shape[0],), logmel_BTM.shape[1])
        hidden_BTD, num_frames_B = self.backbone(logmel_BTM, num_frames_B, shifts)
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
