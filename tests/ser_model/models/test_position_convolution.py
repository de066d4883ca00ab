import pytest
import torch
from torch import nn

from ser_model.models.packing import ConvGeometry, Packing
from ser_model.models.position_convolution import convolve_positions, position_weights

ONE_FRAME_A_SAMPLE = ConvGeometry(kernels=(1,), strides=(1,))


@torch.inference_mode()
@pytest.mark.parametrize(("kernel", "groups"), [(128, 16), (128, 1), (16, 4), (7, 2), (1, 1)])
@pytest.mark.parametrize("num_frames", [(1,), (49,), (3, 300, 1, 64, 65, 129), (900,)])
def test_spectra_give_what_the_convolution_of_each_segment_gives(
    kernel: int, groups: int, num_frames: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(32, 32, kernel_size=kernel, padding=kernel // 2, groups=groups)
    nn.init.normal_(conv.weight, std=(kernel * 32 / groups) ** -0.5)
    rows = [torch.randn(n, 32) for n in num_frames]
    packing = Packing(geometry=ONE_FRAME_A_SAMPLE, num_samples=num_frames)
    actual = convolve_positions(torch.cat(rows), packing, position_weights(conv))
    expected = torch.cat([conv(row.T[None])[0, :, : len(row)].T for row in rows])
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=1e-5)
