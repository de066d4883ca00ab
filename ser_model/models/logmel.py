"""Log-mel spectrograms as PANNs computes them, exact for padded batches.

Kong et al., "PANNs: large-scale pretrained audio neural networks for audio pattern recognition",
2020, section III: at 16 kHz a window of 512 samples, a hop of 160, 64 mel bands from 50 to 8000 Hz.
The mel scale and its area normalisation are Slaney's (Auditory Toolbox, 1998).

Shapes: B batch, N samples, T frames, F frequencies, M mel bands.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

SAMPLING_RATE_HZ = 16_000
WINDOW_SAMPLES = 512
NUM_MELS = 64
LOW_HZ, HIGH_HZ = 50.0, 8000.0
POWER_FLOOR = 1e-10
"""Powers below are raised to it, so that digital silence is -100 dB."""

_MARGIN_SAMPLES = WINDOW_SAMPLES // 2
MIN_SAMPLES = _MARGIN_SAMPLES + 1
"""Reflection needs one sample more than it copies."""


class LogMel(nn.Module):
    """Waveforms to log-mel spectrograms in dB; has no parameters.

    The frames are centred: frame t lies around sample t * hop, and both ends are reflected. Each
    row is reflected at its own true end, so that a row's frames do not depend on the padding.
    """

    def __init__(self, *, hop_samples: int = 160) -> None:
        """Compute window and filters; they are constants and are not stored with the weights."""
        super().__init__()
        self.hop_samples = hop_samples
        window_N = torch.hann_window(WINDOW_SAMPLES, periodic=True)
        self.window_N: Tensor
        self.filters_FM: Tensor
        self.register_buffer("window_N", window_N, persistent=False)
        self.register_buffer(
            "filters_FM", torch.from_numpy(mel_filters().T.copy()), persistent=False
        )

    def forward(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Compute spectrograms.

        Args:
            waveform_BN: samples at 16 kHz, about -1 to 1; what lies behind a row's end is ignored.
            num_samples_B: true length of each row, at least MIN_SAMPLES.

        Returns:
            logmel_BTM in dB, arbitrary behind a row's end; num_frames_B = 1 + num_samples // hop.
        """
        with torch.autocast(waveform_BN.device.type, enabled=False):
            padded_BN = _reflect(waveform_BN.float(), num_samples_B)
            frames_BTN = padded_BN.unfold(1, WINDOW_SAMPLES, self.hop_samples)
            spectrum_BTF = torch.fft.rfft(frames_BTN * self.window_N)
            power_BTF = spectrum_BTF.real.square() + spectrum_BTF.imag.square()
            mel_BTM = power_BTF @ self.filters_FM
            logmel_BTM = 10.0 * mel_BTM.clamp(min=POWER_FLOOR).log10()
            return logmel_BTM, num_samples_B // self.hop_samples + 1


def _reflect(waveform_BN: Tensor, num_samples_B: Tensor) -> Tensor:
    """Add half a window to both ends of every row, mirrored around its first and last sample."""
    longest = waveform_BN.shape[1]
    position_N = torch.arange(
        -_MARGIN_SAMPLES, longest + _MARGIN_SAMPLES, device=waveform_BN.device
    )
    last_B1 = (num_samples_B.to(waveform_BN.device) - 1)[:, None]
    source_BN = last_B1 - (last_B1 - position_N.abs()).abs()
    return waveform_BN.gather(1, source_BN.clamp(min=0))


def mel_filters() -> npt.NDArray[np.float32]:
    """Return Slaney's triangular mel filters.

    Returns:
        [NUM_MELS, WINDOW_SAMPLES // 2 + 1]; each triangle has an area of 1 over Hz.

    Example:
        >>> mel_filters().shape
        (64, 257)
    """
    frequency_F = np.linspace(0.0, SAMPLING_RATE_HZ / 2, WINDOW_SAMPLES // 2 + 1)
    edge_hz = mel_to_hz(np.linspace(hz_to_mel(LOW_HZ), hz_to_mel(HIGH_HZ), NUM_MELS + 2))
    low_M1, centre_M1, high_M1 = edge_hz[:-2, None], edge_hz[1:-1, None], edge_hz[2:, None]
    rising_MF = (frequency_F - low_M1) / (centre_M1 - low_M1)
    falling_MF = (high_M1 - frequency_F) / (high_M1 - centre_M1)
    triangles_MF = np.maximum(0.0, np.minimum(rising_MF, falling_MF))
    return (triangles_MF * 2.0 / (high_M1 - low_M1)).astype(np.float32)


# Slaney's scale is linear up to 1000 Hz (mel 15) and logarithmic above: 27 mels are a factor 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(frequency_hz: float) -> float:
    """Return the place on Slaney's mel scale.

    >>> round(hz_to_mel(1000.0), 6)
    15.0
    """
    if frequency_hz < _BREAK_HZ:
        return frequency_hz / _LINEAR_HZ_PER_MEL
    return float(_BREAK_MEL + np.log(frequency_hz / _BREAK_HZ) / _LOG_STEP)


def mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the frequencies of places on Slaney's mel scale; the inverse of `hz_to_mel`."""
    linear_hz = mel * _LINEAR_HZ_PER_MEL
    log_hz = _BREAK_HZ * np.exp((np.maximum(mel, _BREAK_MEL) - _BREAK_MEL) * _LOG_STEP)
    return np.where(mel < _BREAK_MEL, linear_hz, log_hz)
