"""Backbones of the wav2vec 2.0, HuBERT, UniSpeech and WavLM family, around the library's classes.

Two paths compute the same. Where a gradient is wanted, the library's layers run on padded rows,
with a mask where lengths differ. For scoring, the same weights run in packed form
(packed_forward.py): no padding, no mask, several times faster. Both agree with the library's
forward of one file at a time to 1e-5 in float32. WavLM, whose attention has a bias of its own, and
the weighted sum over layers have the first path alone; WavLM's takes rows of equal length together.

Shapes: B batch, N samples, T frames, C channels, D hidden features.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_model.models.backbone import Backbone, PartName
from ser_model.models.layer_sum import LayerSum, recorded_states
from ser_model.models.packed_forward import PackedForward
from ser_model.models.packing import ConvGeometry
from ser_model.models.speech_transformer_config import (
    OWN_FIELDS,
    SpeechTransformerConfig,
    library_class,
)

_NORMALISATION_EPS = 1e-7  # Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm


class SpeechTransformer(Backbone):
    """The backbone: normalised waveforms to the top layer's frames, or a mix of all layers'.

    Attributes:
        transformer: the library's model; `state_dict` holds its weights under its names.
        layer_sum: the weights of the mix; None where the top layer's frames are returned.
    """

    def __init__(self, config: SpeechTransformerConfig) -> None:
        """Make the layers with the library's random weights."""
        super().__init__()
        self.num_hidden = config.hidden_size
        self._geometry = ConvGeometry(kernels=config.conv_kernel, strides=config.conv_stride)
        self.min_samples = self._geometry.window
        self._do_normalize = config.do_normalize
        self._takes_masks = config.family != "wavlm"
        self.padding_free = self._takes_masks and config.layers == "top"
        library_config = library_class(config.family, "Config")(
            **{name: value for name, value in asdict(config).items() if name not in OWN_FIELDS},
            attn_implementation="sdpa" if self._takes_masks else "eager",
            apply_spec_augment=config.mask_time_prob > 0,
        )
        self.transformer: Any = library_class(config.family, "Model")(library_config)
        self.layer_sum: LayerSum | None = None
        if config.layers == "weighted_sum":
            self.layer_sum = LayerSum(config.num_hidden_layers)
        self._packed = PackedForward(self.transformer, self._geometry)

    def prepare(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Bring each row's true samples to zero mean and unit variance, where the model wants it.

        (x - mean) / sqrt(variance + 1e-7) with the population variance, as the library's
        Wav2Vec2FeatureExtractor computes it of one file. Padding comes out as zeros.
        """
        if not self._do_normalize:
            return waveform_BN, num_samples_B
        mask_BN = _true_places(num_samples_B, waveform_BN.shape[1], waveform_BN.device)
        counts_B1 = num_samples_B.to(waveform_BN.device)[:, None]
        mean_B1 = waveform_BN.masked_fill(~mask_BN, 0.0).sum(dim=1, keepdim=True) / counts_B1
        centred_BN = (waveform_BN - mean_B1).masked_fill(~mask_BN, 0.0)
        variance_B1 = centred_BN.square().sum(dim=1, keepdim=True) / counts_B1
        return centred_BN / torch.sqrt(variance_B1 + _NORMALISATION_EPS), num_samples_B

    def forward(self, inputs_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden_BTD and num_frames_B.

        Frames behind a row's true ones have no meaning. Scoring returns float32 in any dtype of the
        arithmetic, which is that of the weights or of autocast.
        """
        num_samples = num_samples_B.tolist()
        num_frames_B = torch.tensor(
            [self._geometry.num_frames(n) for n in num_samples], device=inputs_BN.device
        )
        if self.training or torch.is_grad_enabled() or not self.padding_free:
            return self._forward_padded(inputs_BN, num_samples_B, num_frames_B), num_frames_B
        return self._packed(inputs_BN, num_samples), num_frames_B

    def modules_of(self, part: PartName) -> tuple[nn.Module, ...]:
        """Return the convolutions, or the projection and the transformer layers."""
        if part == "front_end":
            return (self.transformer.feature_extractor,)
        return (self.transformer.feature_projection, self.transformer.encoder)

    def _forward_padded(
        self, inputs_BN: Tensor, num_samples_B: Tensor, num_frames_B: Tensor
    ) -> Tensor:
        features_BTC = self._convolve(inputs_BN, num_samples_B).transpose(1, 2)
        projected = self.transformer.feature_projection(features_BTC)
        # HuBERT returns the projection alone, the others also the normalised features.
        hidden_BTD = projected[0] if isinstance(projected, tuple) else projected
        num_frames = hidden_BTD.shape[1]
        if int(num_frames_B.min()) == num_frames:
            # Any mask bars the fast kernels of attention: none where all rows are of one length.
            return self._encode(hidden_BTD, None)
        if self._takes_masks:
            return self._encode(
                hidden_BTD, _true_places(num_frames_B, num_frames, hidden_BTD.device)
            )
        encoded_BTD = torch.zeros(hidden_BTD.shape, device=hidden_BTD.device)
        for count in sorted(set(num_frames_B.tolist())):
            rows_B = torch.nonzero(num_frames_B == count)[:, 0]
            rows_BTD = F.pad(
                self._encode(hidden_BTD[rows_B, :count], None), (0, 0, 0, num_frames - count)
            )
            encoded_BTD = encoded_BTD.index_copy(0, rows_B, rows_BTD.to(encoded_BTD.dtype))
        return encoded_BTD

    def _encode(self, hidden_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Run the transformer's layers on projected features."""
        encoder = self.transformer.encoder
        long_enough = hidden_BTD.shape[1] >= self.transformer.config.mask_time_length
        if encoder.training and long_enough:
            # Shorter rows have no room for one mask of SpecAugment, which raises there. Where the
            # encoder is frozen, nothing would be left that could learn from a mask.
            hidden_BTD = self.transformer._mask_hidden_states(hidden_BTD, attention_mask=mask_BT)
        if self.layer_sum is None:
            top_BTD: Tensor = encoder(hidden_BTD, attention_mask=mask_BT).last_hidden_state
            return top_BTD
        with recorded_states(encoder.layers) as states:
            top_BTD = encoder(hidden_BTD, attention_mask=mask_BT).last_hidden_state
        return self.layer_sum(states.below(top_BTD))  # type: ignore[no-any-return]  # a module's call is untyped

    def _convolve(self, inputs_BN: Tensor, num_samples_B: Tensor) -> Tensor:
        """Return features_BCT; a GroupNorm counts the true frames of each row alone."""
        hidden_BCT = inputs_BN.to(self.transformer.dtype)[:, None]
        for layer in self.transformer.feature_extractor.conv_layers:
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm):
                hidden_BCT = layer.conv(hidden_BCT)
                num_rows_B = (num_samples_B - layer.conv.kernel_size[0]) // layer.conv.stride[0] + 1
                hidden_BCT = layer.activation(_masked_group_norm(hidden_BCT, num_rows_B, norm))
            else:
                hidden_BCT = layer(hidden_BCT)
        return hidden_BCT


def _masked_group_norm(hidden_BCT: Tensor, num_rows_B: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Normalise each channel of each row by the mean and variance of its true frames."""
    num_frames = hidden_BCT.shape[2]
    if int(num_rows_B.min()) == num_frames:
        return F.group_norm(hidden_BCT, norm.num_groups, norm.weight, norm.bias, norm.eps)
    mask_B1T = _true_places(num_rows_B, num_frames, hidden_BCT.device)[:, None]
    counts_B11 = num_rows_B.to(hidden_BCT.device)[:, None, None]
    mean_BC1 = hidden_BCT.masked_fill(~mask_B1T, 0.0).sum(dim=2, keepdim=True) / counts_B11
    centred_BCT = (hidden_BCT - mean_BC1).masked_fill(~mask_B1T, 0.0)
    variance_BC1 = centred_BCT.square().sum(dim=2, keepdim=True) / counts_B11
    normed_BCT = centred_BCT / torch.sqrt(variance_BC1 + norm.eps)
    return normed_BCT * norm.weight[:, None] + norm.bias[:, None]


def _true_places(count_B: Tensor, num_places: int, device: torch.device) -> Tensor:
    return torch.arange(num_places, device=device) < count_B.to(device)[:, None]
