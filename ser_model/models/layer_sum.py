"""The layer-weighted sum: a backbone's frames as a mix of all its layers, with weights to train.

Yang et al., "SUPERB: speech processing universal performance benchmark", 2021: the weights are a
softmax of trained numbers, so they are positive and sum to 1; what a layer gets is its importance.
State 0 is what the first layer gets (the frames of the convolutions, projected, with positions);
state i is what layer i returns; the top one is behind the encoder's last norm, as the top layer's
frames are wherever they are used alone.

Shapes: B batch, T frames, D hidden features, S states.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

LayersName: TypeAlias = Literal["top", "weighted_sum"]
"""Which layers' frames a backbone returns: the top one's, or a weighted sum over all."""


class LayerSum(nn.Module):
    """Weighted sum over the states of a backbone; all weights are equal to begin with.

    Example:
        >>> layer_sum = LayerSum(num_layers=1)
        >>> layer_sum([torch.zeros(1, 1, 2), torch.ones(1, 1, 2)]).tolist()
        [[[0.5, 0.5]]]
    """

    def __init__(self, num_layers: int) -> None:
        """Make the numbers behind the weights: one for each layer and one for what is below."""
        super().__init__()
        self.logits_S = nn.Parameter(torch.zeros(num_layers + 1))

    def weights(self) -> Tensor:
        """Return weights_S, positive, their sum 1."""
        return torch.softmax(self.logits_S.float(), dim=0)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Return hidden_BTD of the states, from the lowest to the top."""
        weights_S = self.weights()
        mixed_BTD = weights_S[0] * states[0].float()
        for weight, state_BTD in zip(weights_S[1:], states[1:], strict=True):
            mixed_BTD = mixed_BTD + weight * state_BTD.float()
        return mixed_BTD


class LayerStates:
    """What the layers of an encoder got and returned during one forward."""

    def __init__(self, num_layers: int) -> None:
        """Begin with nothing."""
        self._num_layers = num_layers
        self._lowest: Tensor | None = None
        self._returned: dict[int, Tensor] = {}

    def keep(self, index: int, got_BTD: Tensor, returned_BTD: Tensor) -> None:
        """Keep what a layer got and returned."""
        if self._lowest is None:
            self._lowest = got_BTD
        self._returned[index] = returned_BTD

    def below(self, top_BTD: Tensor) -> list[Tensor]:
        """Return the states, the top one replaced by `top_BTD`.

        LayerDrop skips layers in training: the state of a layer that was skipped is the one below.
        """
        state = top_BTD if self._lowest is None else self._lowest
        states = [state]
        for index in range(self._num_layers - 1):
            state = self._returned.get(index, state)
            states.append(state)
        return [*states, top_BTD]


@contextmanager
def recorded_states(layers: nn.ModuleList) -> Iterator[LayerStates]:
    """Record the states of one forward at the layers themselves.

    What the library returns as `hidden_states` ends before the last norm in one of its versions and
    behind it in another.
    """
    states = LayerStates(len(layers))

    def keep(index: int) -> Any:  # noqa: ANN401  a hook
        def hook(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], returned: object
        ) -> None:
            del module
            got_BTD = args[0] if args else kwargs["hidden_states"]
            returned_BTD = returned[0] if isinstance(returned, tuple) else returned
            assert isinstance(returned_BTD, Tensor), "layers return frames"
            states.keep(index, got_BTD, returned_BTD)

        return hook

    handles = [
        layer.register_forward_hook(keep(index), with_kwargs=True)
        for index, layer in enumerate(layers)
    ]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()
