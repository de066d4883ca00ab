"""Lets `mlflow.pyfunc.load_model` load a Serval model, for tools that speak MLflow alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from orchestration.mlflow_store import SIGNAL_INPUT, TRANSCRIPT_INPUT
from orchestration.model_uris import AnyModel, resolve_model


class WaveformScorer:
    """Scores waveforms of equal length, with transcripts where the model reads."""

    def __init__(self, model: AnyModel) -> None:
        """Keep the model."""
        self._model = model

    @torch.inference_mode()
    def predict(
        self,
        model_input: npt.NDArray[np.float32] | Mapping[str, npt.NDArray[Any]],
        params: Mapping[str, object] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return scores [num_segments, num_targets]; of a categorical model probabilities.

        Args:
            model_input: samples at 16 kHz, [num_segments, num_samples]; of a model that reads a
                mapping, of them as `signal` and of texts as `transcript`, [num_segments].
            params: none are known; MLflow passes them always.
        """
        del params
        transcripts = None
        if isinstance(model_input, Mapping):
            transcripts = [str(text) for text in model_input[TRANSCRIPT_INPUT]]
            model_input = model_input[SIGNAL_INPUT]
        waveform_BN = torch.as_tensor(model_input, dtype=torch.float32)
        num_samples_B = torch.full((len(waveform_BN),), waveform_BN.shape[1])
        scores_BK = self._model(waveform_BN, num_samples_B, transcripts).scores
        if self._model.task == "emotion":
            scores_BK = torch.softmax(scores_BK, dim=-1)
        scores: npt.NDArray[np.float32] = scores_BK.numpy()
        return scores


def _load_pyfunc(path: str) -> WaveformScorer:
    """Load the model in a folder; the name is MLflow's."""
    return WaveformScorer(resolve_model(path).load())
