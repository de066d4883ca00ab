"""The ways of scoring that people use without Serval, for benchmarks/scoring.py."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from transformers import Wav2Vec2FeatureExtractor

from ser_model.models.base import EmotionModel
from ser_model.models.logmel import SAMPLING_RATE_HZ

Waveforms: TypeAlias = list[npt.NDArray[np.float32]]
"""Segments, each float32 [num_samples] at 16 kHz."""

Scores: TypeAlias = list[tuple[float, ...]]
"""Arousal, dominance, valence of each segment."""


class Transformers:
    """The rivals' model: the library's forward, its feature extractor, the mean, Wagner's head."""

    def __init__(self, model: EmotionModel, device: str, dtype: torch.dtype) -> None:
        """Take the library's model out of Serval's, with the same weights."""
        extractor: Any = Wav2Vec2FeatureExtractor
        self._extractor = extractor(do_normalize=True, return_attention_mask=True)
        self._backbone = cast("Any", model.backbone.transformer)
        self._backbone.to(device, dtype).eval()
        self._head = cast("Any", model.head)
        self._head.to(device, dtype).eval()
        self._device, self._dtype = device, dtype

    @torch.inference_mode()
    def score_one_by_one(self, waveforms: Waveforms) -> Scores:
        """The loop of the model card."""
        scores = []
        for waveform in waveforms:
            inputs = self._extractor(
                waveform, sampling_rate=SAMPLING_RATE_HZ, return_tensors="pt"
            ).input_values.to(self._device)
            hidden = self._backbone(inputs).last_hidden_state
            scores.append(tuple(self._head(hidden.mean(dim=1)).cpu().numpy()[0].tolist()))
        return scores

    @torch.inference_mode()
    def score_padded(self, waveforms: Waveforms) -> Scores:
        """A padded batch with an attention mask, and the mean over all true frames."""
        inputs = self._extractor(
            waveforms, sampling_rate=SAMPLING_RATE_HZ, return_tensors="pt", padding=True
        ).to(self._device)
        hidden = self._backbone(
            inputs.input_values.to(self._dtype), attention_mask=inputs.attention_mask
        ).last_hidden_state
        mask = self._backbone._get_feature_vector_attention_mask(
            hidden.shape[1], inputs.attention_mask
        )
        mean = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return [tuple(row) for row in self._head(mean).float().cpu().numpy().tolist()]
