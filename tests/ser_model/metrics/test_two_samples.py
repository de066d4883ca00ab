"""The t-test over runs, against scipy."""

import numpy as np
import pytest
from scipy import stats

from ser_model.metrics.two_samples import independent_t_test


@pytest.mark.parametrize("sizes", [(5, 5), (2, 2), (3, 7)])
@pytest.mark.parametrize("seed", range(5))
def test_it_equals_scipy(sizes, seed):
    random = np.random.default_rng(seed)
    first, second = (random.normal(0.6, 0.01 + 0.02 * n, size) for n, size in enumerate(sizes))
    expected = stats.ttest_ind(first, second)
    found = independent_t_test(first, second)
    assert found.value / found.standard_error == pytest.approx(expected.statistic, rel=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.degrees_of_freedom == expected.df
    interval = expected.confidence_interval(0.95)
    assert found.interval() == pytest.approx((interval.low, interval.high))


def test_runs_without_spread_cannot_be_tested():
    assert independent_t_test([0.5, 0.5], [0.6, 0.6]) is None
    assert independent_t_test([0.5, 0.5], [0.6, 0.61]).value == pytest.approx(-0.105)


def test_a_single_run_is_no_sample():
    with pytest.raises(ValueError, match="samples of 1 and 2 runs"):
        independent_t_test([0.5], [0.6, 0.7])
