import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_model.models.packing import ConvGeometry, Packing

WAV2VEC2 = ConvGeometry(kernels=(10, 3, 3, 3, 3, 2, 2), strides=(5, 2, 2, 2, 2, 2, 2))
SMALL = ConvGeometry(kernels=(5, 3, 2), strides=(3, 2, 2))


def frames_layer_by_layer(geometry: ConvGeometry, num_samples: int) -> int:
    for kernel, stride in zip(geometry.kernels, geometry.strides, strict=True):
        num_samples = max(0, (num_samples - kernel) // stride + 1)
    return num_samples


@pytest.mark.parametrize("geometry", [WAV2VEC2, SMALL])
def test_the_number_of_frames_is_that_of_the_layers_one_by_one(geometry: ConvGeometry) -> None:
    for num_samples in range(geometry.window + 3 * geometry.stride):
        assert geometry.num_frames(num_samples) == frames_layer_by_layer(geometry, num_samples)


@pytest.mark.parametrize(
    ("kernels", "strides"), [((), ()), ((3,), (1, 1)), ((3,), (4,)), ((3,), (0,))]
)
def test_convolutions_that_skip_samples_are_refused(
    kernels: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"^(kernels|strides) "):
        ConvGeometry(kernels=kernels, strides=strides)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(SMALL.window, 60), min_size=1, max_size=6))
def test_packed_segments_give_the_frames_that_they_give_alone(lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(n, generator=generator) for n in lengths]
    filters = [torch.randn(1, 1, kernel, generator=generator) for kernel in SMALL.kernels]

    def convolve(waveform: torch.Tensor) -> torch.Tensor:
        for weight, stride in zip(filters, SMALL.strides, strict=True):
            waveform = F.conv1d(waveform.view(1, 1, -1), weight, stride=stride)
        return waveform.view(-1)

    packing = Packing(geometry=SMALL, num_samples=tuple(lengths))
    padded_BN = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=9.0)
    packed = convolve(packing.lay_out(padded_BN))
    assert len(packed) == sum(packing.num_slots)
    frames_F = packed[packing.slot_of_frame(packed.device)]
    expected = [convolve(row) for row in rows]
    torch.testing.assert_close(frames_F, torch.cat(expected))
    torch.testing.assert_close(
        packing.padded(frames_F[:, None])[:, :, 0],
        torch.nn.utils.rnn.pad_sequence(expected, batch_first=True),
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(SMALL.window, 60), min_size=1, max_size=6), st.integers(1, 5))
def test_gaps_stand_around_every_segment(lengths: list[int], gap: int) -> None:
    packing = Packing(geometry=SMALL, num_samples=tuple(lengths))
    place_F, num_places = packing.spaced(gap, torch.device("cpu"))
    taken = "".join("#" if place in place_F.tolist() else "." for place in range(num_places))
    assert taken == "." * gap + "".join("#" * n + "." * gap for n in packing.num_frames)
