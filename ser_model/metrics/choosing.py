"""What the best of many candidates is worth, once it is no more the luck of having been chosen.

The best of many figures on the same segments is too good: the more there are, and the fewer
speakers, the more of it is chance. The bootstrap tells how much: choose on the speakers that a
replicate drew, and measure the chosen one on those that it did not draw. After Tsamardinos,
Greasidou & Borboudakis, "Bootstrapping the out-of-sample predictions for efficient and accurate
cross-validation", Machine Learning 107 (2018) (BBC-CV), with speakers in the place of samples.

Shapes: C candidates, B replicates.
"""

from __future__ import annotations

import numpy as np

from ser_model.metrics.moments import Floats


def corrected_best(in_bag_CB: Floats, out_of_bag_CB: Floats) -> float:
    """Return what the best candidate is worth on speakers that it was not chosen on.

    In each replicate the candidate with the highest in-bag value is chosen, the first of equals;
    the result is the mean of the out-of-bag values of the chosen.

    It is a little too low, if anything: a replicate chooses on about 63 % of the speakers.

    Args:
        in_bag_CB: the metric (higher is better) on the speakers that a replicate drew, weighted.
        out_of_bag_CB: the metric on the speakers that it did not draw; NaN where it has no value.

    Returns:
        NaN where no replicate has both.

    Example:
        >>> in_bag = np.array([[0.9, 0.5], [0.7, 0.8]])
        >>> corrected_best(in_bag, np.array([[0.6, 0.6], [0.5, 0.4]]))
        0.5
    """
    chosen_B = np.where(np.isfinite(in_bag_CB), in_bag_CB, -np.inf).argmax(axis=0)
    replicates = np.arange(in_bag_CB.shape[1])
    measured_B = np.where(
        np.isfinite(in_bag_CB[chosen_B, replicates]), out_of_bag_CB[chosen_B, replicates], np.nan
    )
    is_known = np.isfinite(measured_B)
    return float(measured_B[is_known].mean()) if is_known.any() else float("nan")
