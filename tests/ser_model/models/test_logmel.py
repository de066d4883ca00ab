import numpy as np
import pytest
import torch

from ser_model.models.logmel import MIN_SAMPLES, LogMel


def reference_logmel(waveform: np.ndarray) -> np.ndarray:
    """The same in float64, a frame and a filter at a time, from the definitions."""

    def to_hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top_mel = 15 + 27 * np.log(8000 / 1000) / np.log(6.4)
    edges = [to_hz(mel) for mel in np.linspace(50 * 3 / 200, top_mel, 66)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    padded = np.pad(waveform.astype(np.float64), 256, mode="reflect")
    frames = []
    for start in range(0, len(waveform) + 1, 160):
        power = np.abs(np.fft.rfft(padded[start : start + 512] * window)) ** 2
        bands = []
        for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
            weights = np.interp(np.arange(257) * 31.25, [low, centre, high], [0, 1, 0])
            bands.append((weights * 2 / (high - low)) @ power)
        frames.append(10 * np.log10(np.maximum(bands, 1e-10)))
    return np.array(frames)


@pytest.mark.parametrize("num_samples", [MIN_SAMPLES, 400, 1599, 1600, 1601, 4321])
def test_equals_an_independent_formulation(num_samples: int) -> None:
    waveform = np.random.default_rng(num_samples).normal(0, 0.1, num_samples).astype(np.float32)
    logmel, num_frames = LogMel()(torch.from_numpy(waveform)[None], torch.tensor([num_samples]))
    expected = reference_logmel(waveform)
    assert num_frames.tolist() == [len(expected)]
    np.testing.assert_allclose(logmel[0].numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("num_samples", [MIN_SAMPLES, 500, 1601, 3999])
def test_a_row_does_not_depend_on_the_padding(num_samples: int) -> None:
    generator = torch.Generator().manual_seed(num_samples)
    waveform = torch.randn(1, 4000, generator=generator)
    waveform_alone = waveform[:, :num_samples]
    garbage_behind = torch.cat([waveform, waveform.flip(0)])
    alone, num_alone = LogMel()(waveform_alone, torch.tensor([num_samples]))
    batched, num_batched = LogMel()(garbage_behind, torch.tensor([num_samples, 4000]))
    assert num_batched[0] == num_alone[0]
    torch.testing.assert_close(batched[0, : num_alone[0]], alone[0], atol=1e-4, rtol=0)


def test_silence_is_the_floor_and_a_tone_is_loudest_in_its_band() -> None:
    time_s = torch.arange(16_000) / 16_000
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 * time_s)
    logmel, _ = LogMel()(torch.stack([torch.zeros(16_000), tone]), torch.tensor([16_000] * 2))
    assert (logmel[0] == -100.0).all()
    # 1000 Hz is mel 15, which stands between .75 and 45.24 mel in steps of .6845.
    assert logmel[1, 50].argmax() == round((15 - 0.75) / 0.6845) - 1


def test_half_precision_around_it_changes_nothing() -> None:
    waveform = torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))
    expected, _ = LogMel()(waveform, torch.tensor([2000]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logmel, _ = LogMel()(waveform, torch.tensor([2000]))
    assert torch.equal(logmel, expected)
