"""The scoring forward of a wav2vec 2.0, HuBERT or UniSpeech model: packed, without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ser_model.models.fast_encoder import EncoderWeights, encode, encoder_weights
from ser_model.models.fast_front_end import FrontEndWeights, extract_features, front_end_weights
from ser_model.models.packing import ConvGeometry, Packing

CPU_PART_FRAMES = 1500
"""A CPU works through a batch in parts of about 30 s: long enough for matrix products to run at
full speed (measured: from 1,000 frames on), short enough that a part's widest layer stays below
32 MB, from where on the C library gives memory back after each use, to be cleared anew."""

CPU_STRETCH_FRAMES = 128
"""Frames of the front end at a time on a CPU, so that what one convolution writes is still in cache
when the next reads it. Measured: 64 and 256 are slower."""

DEVICE_STRETCH_FRAMES = 8192
"""The same elsewhere: 164 s of audio, 540 MB in bfloat16 for the first layer."""

FRONT_END_DTYPES = {("cuda", torch.bfloat16): torch.float16}
"""What the front end multiplies in, where not in the dtype of the rest, by device and that dtype.

Rounding a weight shifts the mean of a channel by nearly the same in every segment, and so all
scores. The front end does so most; its norms keep it within float16's range, whose weights shift an
eighth as much as bfloat16's. GPUs are as fast in both; CPUs with bfloat16 products lack float16's.
"""


class PackedForward:
    """Runs the weights of a library model on segments laid end to end.

    It holds the weights in the layout and dtype that it multiplies, made when they are first needed
    and again when the model's own have changed. It is no module: nothing of it is ever saved.
    """

    def __init__(self, transformer: Any, geometry: ConvGeometry) -> None:  # noqa: ANN401  one of three library classes with no common type
        """Remember the model; read nothing yet."""
        self._transformer = transformer
        self._geometry = geometry
        self._made_of: tuple[object, ...] = ()
        self._front_end: FrontEndWeights
        self._encoder: EncoderWeights

    def __call__(self, inputs_BN: Tensor, num_samples: list[int]) -> Tensor:
        """Return hidden_BTD of the top layer, float32, zeros behind each row's true frames.

        Args:
            inputs_BN: float32 samples, normalised where the model wants it.
            num_samples: true length of each row, at least one window of the front end.
        """
        device = inputs_BN.device
        dtype = next(iter(self._transformer.parameters())).dtype
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        self._read_weights(dtype, device.type)
        whole = Packing(geometry=self._geometry, num_samples=tuple(num_samples))
        on_cpu = device.type == "cpu"
        hidden = []
        with torch.autocast(device.type, enabled=False):
            for begin, end in _parts(whole.num_frames, CPU_PART_FRAMES if on_cpu else None):
                part = Packing(geometry=self._geometry, num_samples=whole.num_samples[begin:end])
                hidden_FD = extract_features(
                    part.lay_out(inputs_BN[begin:end]),
                    part,
                    self._front_end,
                    CPU_STRETCH_FRAMES if on_cpu else DEVICE_STRETCH_FRAMES,
                )
                hidden.append(encode(hidden_FD, part, self._encoder))
            return whole.padded(torch.cat(hidden))

    def _read_weights(self, dtype: torch.dtype, device_type: str) -> None:
        """Read the model's weights, unless those that were read are still the same."""
        made_of = (dtype, *(_identity(p) for p in self._transformer.parameters()))
        if made_of == self._made_of:
            return
        config = self._transformer.config
        self._front_end = front_end_weights(
            self._transformer.feature_extractor,
            self._transformer.feature_projection,
            FRONT_END_DTYPES.get((device_type, dtype), dtype),
        )
        self._encoder = encoder_weights(
            self._transformer.encoder,
            num_heads=config.num_attention_heads,
            stable_layer_norm=config.do_stable_layer_norm,
            dtype=dtype,
        )
        self._made_of = made_of


def _identity(parameter: Tensor) -> tuple[int, int]:
    """Return what changes when a parameter is written to, moved or replaced."""
    version = 0 if parameter.is_inference() else parameter._version
    return parameter.data_ptr(), version


def _parts(num_frames: tuple[int, ...], part_frames: int | None) -> Iterator[tuple[int, int]]:
    """Cut a batch into parts of neighbouring rows with about so many frames, at least one row each.

    >>> list(_parts((600, 500, 500, 2000, 10), 1500))
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    begin, frames = 0, 0
    for row, row_frames in enumerate(num_frames):
        if part_frames is not None and row > begin and frames + row_frames > part_frames:
            yield begin, row
            begin, frames = row, 0
        frames += row_frames
    yield begin, len(num_frames)
