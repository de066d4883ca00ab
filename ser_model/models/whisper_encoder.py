"""Whisper's encoder as a backbone, around the library's own layers.

Radford et al., "Robust speech recognition via large-scale weak supervision", 2023, section 2.2: a
log-mel spectrogram of exactly 30 s, two convolutions, a transformer with fixed positions; a frame
of the encoder is 20 ms. A segment is padded with silence to 30 s, as in training there, and only
the frames that begin within the segment are returned. A longer segment is cut into pieces of 30 s
that do not see each other, and the frames of all its pieces are returned one after the other.

Shapes: B batch, N samples, P pieces of 30 s, F frequencies, M mel bands, T frames, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ser_model.models.backbone import Backbone, PartName, check_layers
from ser_model.models.layer_sum import LayersName, LayerStates, LayerSum
from ser_model.models.whisper_logmel import WINDOW_SAMPLES, WhisperLogmel, cut_pieces

FRAME_SAMPLES = 320
SCORING_PIECES = 8
"""Pieces that scoring computes at a time: however short its segments are, a batch of them is 30 s
each inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperConfig:
    """What a Whisper encoder is apart from its weights.

    Attributes:
        kind: name of the backbone.
        hidden_size: features of a frame.
        num_hidden_layers: transformer layers; fewer than a checkpoint has drops the top ones.
        num_attention_heads: heads of each layer.
        intermediate_size: features of the feed-forward layers.
        num_mels: bands of the spectrogram; 80, of large-v3 and its turbo 128.
        hidden_dropout: dropout behind positions, attention and feed-forward in training.
        attention_dropout: dropout of attention weights in training.
        activation_dropout: dropout inside the feed-forward layers in training.
        layers: the top layer's frames (top), or a weighted sum over all layers (weighted_sum).
        pretrained: where training begins: a hub id, a folder in the Hugging Face layout, or that of
            a trained model; null for random weights.
        revision: commit of the hub's repository, or SHA-256 of the trained model's weights; null
            until it is known.
    """

    kind: Literal["whisper"] = "whisper"
    hidden_size: int = 384
    num_hidden_layers: int = 4
    num_attention_heads: int = 6
    intermediate_size: int = 1536
    num_mels: int = 80
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    layers: LayersName = "top"
    pretrained: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        """Refuse what gives no network."""
        check_layers(
            num_hidden_layers=self.num_hidden_layers,
            hidden_size=self.hidden_size,
            num_attention_heads=self.num_attention_heads,
        )


class WhisperEncoder(Backbone):
    """Waveforms to the encoder's frames, 50 a second.

    Attributes:
        transformer: the library's encoder; `state_dict` holds its weights under its names.
        layer_sum: the weights of a mix of all layers; None where the top layer's are returned.
    """

    padding_free = True

    def __init__(self, config: WhisperConfig) -> None:
        """Make the layers with the library's random weights."""
        from transformers import WhisperConfig as LibraryConfig
        from transformers.models.whisper.modeling_whisper import WhisperEncoder as LibraryEncoder

        super().__init__()
        self.num_hidden = config.hidden_size
        self.min_samples = WINDOW_SAMPLES
        self.transformer: Any = LibraryEncoder(
            LibraryConfig(
                d_model=config.hidden_size,
                encoder_layers=config.num_hidden_layers,
                encoder_attention_heads=config.num_attention_heads,
                encoder_ffn_dim=config.intermediate_size,
                num_mel_bins=config.num_mels,
                dropout=config.hidden_dropout,
                attention_dropout=config.attention_dropout,
                activation_dropout=config.activation_dropout,
                attn_implementation="sdpa",  # type: ignore[call-arg]  # missing in its annotations
            )
        )
        self.layer_sum: LayerSum | None = None
        if config.layers == "weighted_sum":
            self.layer_sum = LayerSum(config.num_hidden_layers)
        self.logmel = WhisperLogmel(config.num_mels)

    def prepare(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the waveforms: the silence that pads a segment is part of its spectrogram."""
        return waveform_BN, num_samples_B

    def forward(self, inputs_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden_BTD and num_frames_B: a frame for every 20 ms of a row that began."""
        pieces, piece_rows = cut_pieces(inputs_BN, num_samples_B)
        wants_gradient = self.training or torch.is_grad_enabled()
        size = len(pieces) if wants_gradient else SCORING_PIECES
        frames: list[list[Tensor]] = [[] for _ in range(len(inputs_BN))]
        for begin in range(0, len(pieces), size):
            part = pieces[begin : begin + size]
            hidden_PTD = self._encode(self.logmel(part))
            for row, piece_N, hidden_TD in zip(piece_rows[begin:], part, hidden_PTD, strict=False):
                frames[row].append(hidden_TD[: -(-len(piece_N) // FRAME_SAMPLES)])
        rows = [torch.cat(of_row) for of_row in frames]
        num_frames_B = torch.tensor([len(row_TD) for row_TD in rows], device=inputs_BN.device)
        return pad_sequence(rows, batch_first=True), num_frames_B

    def modules_of(self, part: PartName) -> tuple[nn.Module, ...]:
        """Return the convolutions and positions, or the transformer layers."""
        encoder = self.transformer
        if part == "front_end":
            return encoder.conv1, encoder.conv2, encoder.embed_positions
        return encoder.layers, encoder.layer_norm

    def _encode(self, logmel_PMT: Tensor) -> Tensor:
        """Do what the library's encoder does, with a hand on each layer: it may be frozen."""
        encoder = self.transformer
        hidden_PDT = F.gelu(encoder.conv1(logmel_PMT.to(encoder.dtype)))
        hidden_PTD = F.gelu(encoder.conv2(hidden_PDT)).transpose(1, 2)
        hidden_PTD = hidden_PTD + encoder.embed_positions.weight
        hidden_PTD = F.dropout(hidden_PTD, encoder.dropout, training=encoder.layers.training)
        states = LayerStates(len(encoder.layers))
        for index, layer in enumerate(encoder.layers):
            returned = layer(hidden_PTD, None)
            below_PTD = hidden_PTD
            hidden_PTD = returned[0] if isinstance(returned, tuple) else returned
            states.keep(index, below_PTD, hidden_PTD)
        top_PTD: Tensor = encoder.layer_norm(hidden_PTD)
        if self.layer_sum is None:
            return top_PTD
        return self.layer_sum(states.below(top_PTD))  # type: ignore[no-any-return]  # a module's call is untyped
