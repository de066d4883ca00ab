"""Gaps of changes: which slices are compared, and how often nothing is found to be something."""

import numpy as np
import pytest

from pipelines.transforms.change_gaps import SliceChange, compare_changes
from pipelines.transforms.comparing import MAX_SLICES_IN_PAIRS
from pipelines.transforms.metric_values import MetricValues
from pipelines.transforms.sharing import Pair
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.concordance import concordance_cc_of
from ser_model.metrics.intervals import Scale, gap_estimate
from ser_model.metrics.moments import CoMoments

KEY = ("m", "noise", "accent", "arousal")


def change(name, *, is_rest=False, why=None, metrics=("concordance_cc",)):
    values = np.random.default_rng(len(name)).normal(-0.1, 0.02, 50)
    return SliceChange(
        pair=Pair(kind="change", first=("m", "noise"), second=("m", "clean")),
        name=f"accent={name}",
        is_rest=is_rest,
        num_segments=100,
        num_speakers=8,
        effective_speakers=7.5,
        num_compared_speakers=20,
        why_suppressed=why,
        metrics=tuple(
            MetricValues(name=m, values=values, why_undefined="", scale=Scale.CORRELATION)
            for m in metrics
        ),
    )


def compared(changes):
    return [row for _, batch in compare_changes((KEY, changes)) for row in batch.to_pylist()]


def test_many_slices_are_compared_with_the_rest_only():
    names = [f"{number:02}" for number in range(MAX_SLICES_IN_PAIRS + 1)]
    changes = [change(name, is_rest=is_rest) for name in names for is_rest in (True, False)]
    start = "condition=noise-condition=clean,"
    rests = [f"{start}accent={name}-rest" for name in names]
    assert [row["slice"] for row in compared(changes)] == rests
    slices = {row["slice"] for row in compared(changes[:6])}
    pairs = {f"{start}accent={a}-accent={b}" for a, b in (("00", "01"), ("00", "02"), ("01", "02"))}
    assert slices == pairs | set(rests[:3])


def test_a_speaker_in_both_slices_counts_once():
    (row,) = compared([change("a"), change("bb")])
    assert (row["num_segments"], row["num_speakers"]) == (200, 16)
    assert row["metric"] == "concordance_cc_change_gap"


def test_a_gap_of_a_suppressed_slice_says_why():
    (row,) = compared([change("a", why="fewer than 3 speakers"), change("bb")])
    assert (row["verdict"], row["reason"]) == ("suppressed", "fewer than 3 speakers")
    assert (row["value"], row["p_value"]) == (None, None)


def test_an_emotion_that_one_slice_lacks_is_not_compared():
    rows = compared([change("a", metrics=("recall[joy]", "recall[anger]")), change("bb")])
    assert rows == []


@pytest.mark.parametrize(("num_first", "num_second"), [(12, 12), (6, 18)])
def test_groups_that_lose_alike_differ_in_five_percent_of_corpora(num_first, num_second):
    """Change of CCC, with speaker effects (ICC about .3) of the model and of the condition."""
    random = np.random.default_rng(num_first)
    num_speakers, num_segments, num_corpora = num_first + num_second, 20, 2000
    keys = speaker_keys([str(n) for n in range(num_speakers)])
    weights = poisson_weights(keys, seed=0, num_replicates=300)
    weights = np.vstack([np.ones((1, num_speakers)), weights])
    groups = np.repeat([0, 1], [num_first, num_second])
    speaker = np.repeat(np.arange(num_speakers), num_segments)
    num_found = 0
    for _ in range(num_corpora):
        truth = random.normal(0, 0.2, speaker.size)

        def moved(scale):
            of_speaker = random.normal(0, 0.55 * scale, num_speakers)[speaker]
            return of_speaker + random.normal(0, 0.84 * scale, speaker.size)

        clean = 0.8 * truth + moved(0.1)
        noisy = 0.9 * clean + moved(0.1)
        changes = []
        for group in (0, 1):
            values = []
            for said in (noisy, clean):
                moments = CoMoments.from_groups(truth, said, speaker, num_speakers)
                of_group = np.where(groups == group, weights, 0)
                values.append(concordance_cc_of(moments.weighted_totals(of_group)))
            changes.append(values[0] - values[1])
        estimate = gap_estimate(*changes, (num_first, num_second), num_speakers)
        num_found += estimate.p_value < 0.05
    assert 0.02 <= num_found / num_corpora <= 0.07
