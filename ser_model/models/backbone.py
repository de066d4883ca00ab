"""What a backbone is: a network that turns waveforms into frames of hidden features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

from torch import Tensor, nn

PartName: TypeAlias = Literal["front_end", "encoder"]
"""What training can freeze: the layers that see samples or bands first, and those above them."""


class Backbone(nn.Module, ABC):
    """Waveforms to frames, in two steps.

    `prepare` is the part without parameters (a spectrogram, a normalisation): training computes it
    once and keeps it. `forward` is what is trained. Neither lets a row see the others' padding.

    Attributes:
        num_hidden: features of a frame.
        min_samples: shortest waveform that gives a frame, in samples.
        padding_free: whether scoring leaves padding out, so that rows of any lengths go together.
    """

    num_hidden: int
    min_samples: int
    padding_free: bool = False

    @abstractmethod
    def prepare(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs_BT... of `forward` and the true length of each row, num_inputs_B."""

    @abstractmethod
    def forward(self, inputs_BT: Tensor, num_inputs_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden_BTD and the true frames of each row, num_frames_B."""

    @abstractmethod
    def modules_of(self, part: PartName) -> tuple[nn.Module, ...]:
        """Return the layers of a part; together, both parts hold all that is pretrained."""


def check_layers(*, num_hidden_layers: int, hidden_size: int, num_attention_heads: int) -> None:
    """Check that these numbers give transformer layers.

    Raises:
        ValueError: they do not.
    """
    if num_hidden_layers < 1:
        raise ValueError(f"num_hidden_layers {num_hidden_layers} must be 1 or more")
    if hidden_size % num_attention_heads:
        raise ValueError(
            f"hidden_size {hidden_size} is no multiple of num_attention_heads {num_attention_heads}"
        )
