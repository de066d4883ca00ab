"""Quantiles of counted residuals against numpy's quantiles of the residuals themselves."""

import numpy as np
import pytest

from ser_model.metrics.residual_bins import (
    BIN_WIDTH,
    NUM_RESIDUAL_BINS,
    residual_bins,
    residual_quantiles,
)

SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def counts_of(residuals: np.ndarray) -> np.ndarray:
    return np.bincount(residual_bins(residuals), minlength=NUM_RESIDUAL_BINS)


@pytest.mark.parametrize("num", [1, 2, 3, 7, 100, 5000])
@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_within_half_a_bin_of_numpy(num: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    residuals = np.clip(random.normal(random.uniform(-0.2, 0.2), 0.25, num), -1, 1)
    found = residual_quantiles(counts_of(residuals), SHARES)
    assert np.abs(found - np.quantile(residuals, SHARES)).max() <= BIN_WIDTH / 2 + 1e-12


def test_residuals_beyond_the_scale_are_counted_at_its_ends() -> None:
    residuals = np.array([-4.0, -1.001, 1.0, 2.5])
    assert counts_of(residuals)[[0, -1]].tolist() == [2, 2]
    assert residual_quantiles(counts_of(residuals), (0.0, 1.0)).tolist() == [-1.0, 1.0]


def test_counts_of_parts_add_up() -> None:
    residuals = np.random.default_rng(3).normal(0, 0.3, 999)
    parts = sum(counts_of(part) for part in np.array_split(residuals, 7))
    np.testing.assert_array_equal(parts, counts_of(residuals))


def test_every_bin_holds_what_lies_between_its_edges() -> None:
    residuals = np.random.default_rng(4).uniform(-1, 1, 10_000)
    bins = residual_bins(residuals)
    low = (bins - 101) / 100
    assert ((low - 1e-12 <= residuals) & (residuals < low + 0.01 + 1e-12)).all()


def test_nothing_has_no_quantile_and_other_counts_are_refused() -> None:
    assert np.isnan(residual_quantiles(np.zeros(NUM_RESIDUAL_BINS), [0.5])).all()
    with pytest.raises(ValueError, match="shape"):
        residual_quantiles(np.zeros(20), [0.5])
