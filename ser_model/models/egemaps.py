"""The 88 eGeMAPS functionals of openSMILE as a backbone without weights: one frame a segment.

Eyben et al., "The Geneva minimalistic acoustic parameter set (GeMAPS) for voice research and
affective computing", 2016; version v02 of the extended set. They are computed on the CPU, by
the package `opensmile`, which is free for research and not for commercial use.

Shapes: B batch, N samples, T = 1 frame, D = 88 features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ser_model.models.backbone import Backbone, PartName
from ser_model.schema import ConfigError

NUM_FEATURES = 88
SAMPLING_RATE_HZ = 16_000
MIN_SAMPLES = 960
"""One window of 60 ms, openSMILE's for the pitch: of less it makes no functionals."""

LARGEST = 1.0 - 2.0**-15
"""The largest sample that openSMILE's 16 bits hold. It casts without a look: 1.0 would come back
as -1.0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgemapsConfig:
    """The feature set.

    Attributes:
        kind: name of the backbone.
        feature_set: openSMILE's name of it.
        speaker_normalised: whether the model expects features that were standardised within each
            speaker, over all segments of that speaker. Such a model can be cross-validated, and
            cannot score segments one by one: `load_model` refuses it.
    """

    kind: Literal["egemaps"] = "egemaps"
    feature_set: Literal["eGeMAPSv02"] = "eGeMAPSv02"
    speaker_normalised: bool = False


class Egemaps(Backbone):
    """Functionals of each segment for itself: what else is in a batch cannot matter."""

    num_hidden = NUM_FEATURES
    min_samples = MIN_SAMPLES
    padding_free = True

    def __init__(self, config: EgemapsConfig) -> None:
        """Check that openSMILE is here.

        Raises:
            ConfigError: it is not installed.
        """
        super().__init__()
        check_opensmile()
        self.config = config

    def prepare(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return features_B1D and num_frames_B, all 1, on the device that the waveforms are on."""
        rows = waveform_BN.float().cpu().numpy()
        lengths = num_samples_B.tolist()
        features_BD = np.stack(
            [functionals(row_N[:length]) for row_N, length in zip(rows, lengths, strict=True)]
        )
        features_B1D = torch.from_numpy(features_BD)[:, None].to(waveform_BN.device)
        return features_B1D, torch.ones_like(num_samples_B)

    def forward(self, inputs_BT: Tensor, num_inputs_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features as they are: there is nothing to train."""
        return inputs_BT, num_inputs_B.to(inputs_BT.device)

    def modules_of(self, part: PartName) -> tuple[nn.Module, ...]:  # noqa: ARG002  it has no parts
        """Return nothing: there are no layers."""
        return ()


def check_opensmile() -> None:
    """Refuse to go on without openSMILE.

    Raises:
        ConfigError: it is not installed; the message names the extra that has it.
    """
    if find_spec("opensmile") is None:
        raise ConfigError(
            "eGeMAPS features need the package opensmile, which is free for research and not for "
            "commercial use: pip install 'serval[egemaps]'"
        )


def functionals(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the features of one segment, [88], in openSMILE's order.

    Args:
        waveform: mono samples at 16 kHz, at least MIN_SAMPLES; what is beyond -1 to 1 is clipped.
    """
    if len(waveform) < MIN_SAMPLES:
        raise ValueError(f"{len(waveform)} samples; the functionals need {MIN_SAMPLES}")
    values = _extractor()(np.clip(waveform, -1.0, LARGEST), SAMPLING_RATE_HZ)
    return np.ascontiguousarray(values.reshape(NUM_FEATURES), dtype=np.float32)


def feature_names() -> tuple[str, ...]:
    """Return openSMILE's names of the features, in their order."""
    return tuple(_extractor().feature_names)


@cache
def _extractor() -> Any:  # noqa: ANN401  opensmile comes without types
    import opensmile  # here: it loads pandas, and is an extra

    return opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )
