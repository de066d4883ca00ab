"""Where somebody speaks: the weights of silero-vad's 16 kHz model, which its wheel carries.

Source: Silero Team, Silero VAD, version 6, https://github.com/snakers4/silero-vad (MIT). A
short-time spectrum, four convolutions and an LSTM give the probability of speech for each 32 ms.
The published model takes one frame at a time. Here frames go through the convolutions by the
hundred and only the LSTM takes them one by one: the same probabilities, many times as fast.

Tensor shapes: N frames, S samples of a frame, C channels, T steps in time.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ser_model.audio import SAMPLING_RATE_HZ, Waveform
from ser_model.schema import ConfigError

FRAME_SAMPLES = 512
FRAME_S = FRAME_SAMPLES / SAMPLING_RATE_HZ
CONTEXT_SAMPLES = 64
"""Each frame is seen together with so many samples before it."""

SPEECH_BEGINS, SPEECH_GOES_ON = 0.5, 0.35
"""Speech begins at the first probability, and goes on while it is at least the second."""

PAUSE_S = 0.5
"""A shorter pause belongs to the speech around it."""

SHORTEST_S = 0.25
"""What is shorter is a click or a cough."""

PADDING_S = 0.1
"""Added on both sides, so that no first or last sound is cut; less than half a pause."""

_LSTM_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class VoiceActivityModel:
    """The model, without state: threads may share it."""

    def __init__(self) -> None:
        """Load the model from the installed wheel; nothing is downloaded.

        Raises:
            ConfigError: silero-vad is not installed, or holds no such model.
        """
        # The package itself is not imported: that would set torch to one thread.
        found = importlib.util.find_spec("silero_vad")
        folders = found.submodule_search_locations if found is not None else None
        path = Path(next(iter(folders or ["."]))) / "data" / "silero_vad.jit"
        if found is None or not path.is_file():
            raise ConfigError(
                "--vad needs silero-vad, whose wheel carries the model: pip install 'serval[vad]'"
            )
        with warnings.catch_warnings():
            # torch deprecates TorchScript, in which alone the wheel has this release's weights in
            # a form that torch reads (its safetensors file is of another release).
            warnings.simplefilter("ignore", DeprecationWarning)
            model = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        self._weights = {
            name.removeprefix("_model."): tensor.detach()
            for name, tensor in model.state_dict().items()
            if name.startswith("_model.")
        }
        self._lstm = torch.nn.LSTM(128, 128)
        names = {f"{name}_l0": f"decoder.rnn.{name}" for name in _LSTM_WEIGHTS}
        self._lstm.load_state_dict({ours: self._weights[name] for ours, name in names.items()})
        self._lstm.requires_grad_(False)

    def probabilities(self, blocks: Iterable[Waveform]) -> npt.NDArray[np.float32]:
        """Return the probability of speech for each 32 ms [num_frames].

        Args:
            blocks: a recording at 16 kHz in pieces of any length, of which none is kept. A last
                frame that is not full is filled up with silence.
        """
        probabilities = [np.empty(0, np.float32)]
        state: tuple[torch.Tensor, torch.Tensor] | None = None
        # What the next frame begins with: its context, then samples that filled no frame.
        held = np.zeros(CONTEXT_SAMPLES, np.float32)

        def take(num_frames: int) -> None:
            nonlocal state, held
            num_samples = num_frames * FRAME_SAMPLES
            signal = torch.from_numpy(held[: CONTEXT_SAMPLES + num_samples])
            frames_NS = signal.unfold(0, CONTEXT_SAMPLES + FRAME_SAMPLES, FRAME_SAMPLES)
            frame_probabilities, state = self._forward(frames_NS, state)
            probabilities.append(frame_probabilities.numpy())
            held = held[num_samples:]

        for block in blocks:
            held = np.concatenate([held, block])
            num_frames = (len(held) - CONTEXT_SAMPLES) // FRAME_SAMPLES
            if num_frames:
                take(num_frames)
        num_left = len(held) - CONTEXT_SAMPLES
        if num_left:
            held = np.concatenate([held, np.zeros(FRAME_SAMPLES - num_left, np.float32)])
            take(1)
        return np.concatenate(probabilities)

    @torch.inference_mode()
    def _forward(
        self, frames_NS: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        weights = self._weights
        padded_N1S = functional.pad(frames_NS.unsqueeze(1), (0, 64), mode="reflect")
        spectrum_NCT = functional.conv1d(
            padded_N1S, weights["stft.forward_basis_buffer"], stride=128
        )
        real_NCT, imaginary_NCT = spectrum_NCT.chunk(2, dim=1)
        hidden_NCT = (real_NCT.square() + imaginary_NCT.square()).sqrt()
        for layer, stride in enumerate((1, 2, 2, 1)):
            name = f"encoder.{layer}.reparam_conv"
            weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            hidden_NCT = functional.conv1d(hidden_NCT, weight, bias, stride, padding=1).relu()
        hidden_N1C, state = self._lstm(hidden_NCT.transpose(1, 2), state)
        logits_N11 = functional.linear(
            hidden_N1C.relu(),
            weights["decoder.decoder.2.weight"][..., 0],
            weights["decoder.decoder.2.bias"],
        )
        return logits_N11.sigmoid().flatten(), state


def speech_stretches(probabilities: npt.NDArray[np.float32]) -> list[tuple[float, float]]:
    """Turn probabilities of speech into stretches (start, end) in seconds, apart by a pause.

    The last may end behind the recording, whose last frame need not be full.

    Args:
        probabilities: for each 32 ms [num_frames].

    >>> silence, speech = [0.0] * 50, [0.9] * 50
    >>> speech_stretches(np.array(silence + speech + silence, np.float32))
    [(1.5, 3.3)]
    """
    joined: list[tuple[int, int]] = []
    for start, end in _active_frames(probabilities):
        if joined and (start - joined[-1][1]) * FRAME_S < PAUSE_S:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [
        (round(max(start * FRAME_S - PADDING_S, 0.0), 3), round(end * FRAME_S + PADDING_S, 3))
        for start, end in joined
        if (end - start) * FRAME_S >= SHORTEST_S
    ]


def _active_frames(probabilities: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return the runs of frames from a beginning of speech to where it does not go on."""
    goes_on = np.concatenate([[False], probabilities >= SPEECH_GOES_ON, [False]])
    starts, ends = (
        np.flatnonzero(goes_on[1:] & ~goes_on[:-1]),
        np.flatnonzero(~goes_on[1:] & goes_on[:-1]),
    )
    begins = np.flatnonzero(probabilities >= SPEECH_BEGINS)
    # A run counts from the first frame in it at which speech begins, if there is one.
    first = np.searchsorted(begins, starts)
    return [
        (int(begins[at]), int(end))
        for at, end in zip(first, ends, strict=True)
        if at < len(begins) and begins[at] < end
    ]
