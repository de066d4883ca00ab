"""Every statistic of a probe against a plain second formulation."""

import audmetric
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from orchestration.text_probe.statistics import FEW_SPEAKERS, PARTIAL, probe_statistics
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.schema import DIMENSIONS, PROBE_SEGMENTS

NUM_SEGMENTS = 60


def make_segments(**columns: object) -> pa.Table:
    rng = np.random.default_rng(0)
    made: dict[str, object] = {
        "segment_id": [f"{number:03d}" for number in range(NUM_SEGMENTS)],
        "speaker_id": [f"speaker {number % 8}" for number in range(NUM_SEGMENTS)],
        "sentiment": rng.normal(size=NUM_SEGMENTS),
    }
    for dimension in DIMENSIONS:
        truth = rng.uniform(size=NUM_SEGMENTS)
        made[f"truth_{dimension}"] = truth
        made[f"original_{dimension}"] = truth + rng.normal(0, 0.1, NUM_SEGMENTS)
        made[f"synthetic_{dimension}"] = 0.3 * truth + rng.normal(0, 0.1, NUM_SEGMENTS)
    made |= columns
    arrays = [
        pa.array(made.get(field.name, [None] * NUM_SEGMENTS), field.type, from_pandas=True)
        for field in PROBE_SEGMENTS
    ]
    return pa.Table.from_arrays(arrays, schema=PROBE_SEGMENTS)


def statistics_of(segments: pa.Table, num_replicates: int = 50) -> dict[tuple[str, ...], dict]:
    table = probe_statistics(segments, model_version="m/1", seed=1, num_replicates=num_replicates)
    rows = table.to_pylist()
    found = {(row["target"], row["metric"], row["condition"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def partial_of(segments: pa.Table, side: str, rows: np.ndarray) -> float:
    prediction, truth, sentiment = (
        segments[name].to_numpy()[rows]
        for name in (f"{side}_valence", "truth_valence", "sentiment")
    )
    residuals = [v - np.polyval(np.polyfit(truth, v, 1), truth) for v in (prediction, sentiment)]
    return stats.pearsonr(*residuals).statistic


def test_values_are_those_of_the_fields_library() -> None:
    segments = make_segments()
    found = statistics_of(segments)
    for dimension in DIMENSIONS:
        truth, original, synthetic = (
            segments[f"{side}_{dimension}"].to_numpy()
            for side in ("truth", "original", "synthetic")
        )
        for metric, reference in (
            ("concordance_cc", audmetric.concordance_cc),
            ("pearson_cc", audmetric.pearson_cc),
        ):
            values = {
                "clean": reference(truth, original),
                "synthetic": reference(truth, synthetic),
            }
            for condition, value in values.items():
                row = found[dimension, metric, condition]
                assert row["value"] == pytest.approx(value, abs=1e-9)
                assert (row["num_segments"], row["num_speakers"]) == (NUM_SEGMENTS, 8)
                assert row["ci_low"] < row["value"] < row["ci_high"]
            gap = found[dimension, f"{metric}_gap", "synthetic-clean"]
            assert gap["value"] == pytest.approx(values["synthetic"] - values["clean"], abs=1e-9)


def test_the_partial_correlation_is_that_of_residuals() -> None:
    segments = make_segments()
    found = statistics_of(segments)
    everything = np.arange(NUM_SEGMENTS)
    for side, condition in (("original", "clean"), ("synthetic", "synthetic")):
        expected = partial_of(segments, side, everything)
        assert found["valence", PARTIAL, condition]["value"] == pytest.approx(expected, abs=1e-9)


def test_intervals_are_those_of_drawing_speakers_row_by_row() -> None:
    segments, num_replicates = make_segments(), 30
    found = statistics_of(segments, num_replicates)
    speakers = segments["speaker_id"].to_pylist()
    names = sorted(set(speakers))
    weights = poisson_weights(speaker_keys(names), seed=1, num_replicates=num_replicates)
    gaps, partials = [], []
    for of_speakers in weights:
        times = [of_speakers[names.index(speaker)] for speaker in speakers]
        rows = np.repeat(np.arange(NUM_SEGMENTS), times)
        truth, original, synthetic = (
            segments[f"{side}_valence"].to_numpy()[rows]
            for side in ("truth", "original", "synthetic")
        )
        gaps.append(
            audmetric.concordance_cc(truth, synthetic) - audmetric.concordance_cc(truth, original)
        )
        partials.append(partial_of(segments, "original", rows))
    # Student's t with the effective number of speakers, correlations by Fisher's z.
    sizes = [sum(of[names.index(speaker)] for speaker in speakers) for of in weights.tolist()]
    effective = min(NUM_SEGMENTS**2 / np.var(sizes), len(names))
    quantile, factor = stats.t.ppf(0.975, effective - 1), effective / (effective - 1)
    gap = found["valence", "concordance_cc_gap", "synthetic-clean"]
    reach = quantile * np.std(gaps) * np.sqrt(factor)
    expected = [gap["value"] - reach, gap["value"] + reach]
    assert [gap["ci_low"], gap["ci_high"]] == pytest.approx(expected, abs=1e-9)
    partial = found["valence", PARTIAL, "clean"]
    reach = quantile * np.std(np.arctanh(partials)) * factor
    expected = np.tanh([np.arctanh(partial["value"]) + sign * reach for sign in (-1, 1)]).tolist()
    assert [partial["ci_low"], partial["ci_high"]] == pytest.approx(expected, abs=1e-9)


def test_a_difference_is_over_the_segments_of_both_sides() -> None:
    whole = make_segments()
    gone = np.arange(NUM_SEGMENTS) < 20
    synthetic = np.where(gone, np.nan, whole["synthetic_valence"].to_numpy())
    segments = make_segments(synthetic_valence=synthetic)
    found = statistics_of(segments)
    assert found["valence", "concordance_cc", "clean"]["num_segments"] == NUM_SEGMENTS
    assert found["valence", "concordance_cc", "synthetic"]["num_segments"] == NUM_SEGMENTS - 20
    gap = found["valence", "concordance_cc_gap", "synthetic-clean"]
    assert gap["num_segments"] == NUM_SEGMENTS - 20
    truth, original = (whole[f"{side}_valence"].to_numpy()[~gone] for side in ("truth", "original"))
    expected = audmetric.concordance_cc(truth, synthetic[~gone]) - audmetric.concordance_cc(
        truth, original
    )
    assert gap["value"] == pytest.approx(expected, abs=1e-9)


def test_without_sentiment_there_is_no_partial_correlation() -> None:
    found = statistics_of(make_segments(sentiment=[None] * NUM_SEGMENTS))
    assert not [key for key in found if PARTIAL in key]


def test_one_sentiment_for_all_explains_nothing() -> None:
    row = statistics_of(make_segments(sentiment=[0.3] * NUM_SEGMENTS))["valence", PARTIAL, "clean"]
    assert (row["value"], row["ci_low"]) == (None, None)
    assert "no variance" in row["reason"]


def test_a_constant_model_agrees_with_nothing() -> None:
    found = statistics_of(make_segments(synthetic_valence=[0.4] * NUM_SEGMENTS))
    assert found["valence", "concordance_cc", "synthetic"]["value"] == 0
    assert found["valence", "pearson_cc", "synthetic"]["value"] is None
    assert found["valence", "pearson_cc", "synthetic"]["reason"] == "no variance"


@pytest.mark.parametrize("speaker", ["ann", None])
def test_one_speaker_gives_no_interval(speaker: str | None) -> None:
    found = statistics_of(make_segments(speaker_id=[speaker] * NUM_SEGMENTS))
    row = found["valence", "concordance_cc", "clean"]
    assert row["value"] > 0.5
    assert (row["ci_low"], row["ci_high"], row["reason"]) == (None, None, FEW_SPEAKERS)


def test_the_order_of_segments_does_not_matter() -> None:
    segments = make_segments()
    shuffled = segments.take(np.random.default_rng(2).permutation(NUM_SEGMENTS))
    first, second = statistics_of(segments), statistics_of(shuffled)
    for key, row in first.items():
        for name in ("value", "ci_low", "ci_high"):
            assert second[key][name] == pytest.approx(row[name], abs=1e-9)


def test_many_speakers_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = statistics_of(make_segments())
    monkeypatch.setattr("orchestration.text_probe.statistics.SPEAKERS_PER_BLOCK", 3)
    for key, row in statistics_of(make_segments()).items():
        assert row["ci_low"] == pytest.approx(whole[key]["ci_low"], abs=1e-9)
