"""Speakers one by one and together, against numpy and scipy on the segments themselves."""

import audmetric
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from pipelines.transforms.metric_values import NO_INTERVAL
from pipelines.transforms.speaker_statistics import FEW_SPEAKERS, MIN_SEGMENTS, summarise_speakers
from pipelines.transforms.speakers import merge_speakers, sum_up_speakers
from pipelines.transforms.tables import to_batch, to_table
from ser_model.schema import DIMENSIONS, SPEAKERS

COUNTS = [40, 25, 12, 60, 9, 30, 1, 18]


def make_segments(seed=0):
    """Speakers of very different size; of model "b" a third of the speakers are predicted badly."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(len(COUNTS)), COUNTS)
    truth = np.clip(0.5 + 0.1 * random.normal(size=len(COUNTS))[speaker], 0, 1)
    truth += 0.15 * random.normal(size=speaker.size)
    good = truth + 0.1 * random.normal(size=speaker.size) + 0.05 * (speaker % 2)
    bad = np.where(speaker % 3 == 0, random.uniform(0, 1, speaker.size), good)
    return speaker, truth, {"a": good, "b": bad}


def joined(speaker, truth, predictions):
    parts = []
    for model, prediction in predictions.items():
        columns = {
            "model_version": [model] * speaker.size,
            "condition": ["clean"] * speaker.size,
            "speaker_id": [f"speaker {number}" for number in speaker],
            "slice_by:": [""] * speaker.size,
            "truth_emotion": np.array(["joy", "anger"])[speaker % 2],
            "prediction_emotion": ["joy"] * speaker.size,
        }
        for dimension in DIMENSIONS:
            columns |= {f"truth_{dimension}": truth, f"prediction_{dimension}": prediction}
        parts.append(pa.table(columns))
    return pa.concat_tables(parts).combine_chunks()


def sums_of_target(table, target):
    batches = [element[1] for element in sum_up_speakers((0, table), 1) if type(element) is tuple]
    sums = merge_speakers(to_table(batches)).drop_columns(["bins"])
    return to_batch(sums.filter(pa.array([name == target for name in sums["target"].to_pylist()])))


def summarised_emotions(table):
    """Return the rows of speakers of models that predict emotions."""
    outputs = summarise_speakers((("clean", "emotion"), [sums_of_target(table, "emotion")]))
    return [row for batch in outputs for row in batch.to_pylist()]


def summarised(speaker, truth, predictions, target="valence"):
    """Return the rows of speakers, and the summaries by model and metric."""
    rows, summaries = [], {}
    batch = sums_of_target(joined(speaker, truth, predictions), target)
    for output in summarise_speakers((("clean", target), [batch])):
        if isinstance(output, pa.RecordBatch):
            assert output.schema == SPEAKERS
            rows += output.to_pylist()
        else:
            key, batch = output.value
            for row in batch.to_pylist():
                assert (row["model_version"], row["condition"], row["target"]) == (*key, target)
                summaries[row["model_version"], row["metric"]] = row
    return rows, summaries


@pytest.fixture(scope="module")
def segments():
    return make_segments()


@pytest.fixture(scope="module")
def found(segments):
    return summarised(*segments)


def row_of(rows, model, number, metric):
    (row,) = [
        row
        for row in rows
        if (row["model_version"], row["speaker_id"], row["metric"])
        == (model, f"speaker {number}", metric)
    ]
    return row


def test_every_speaker_has_the_values_of_their_own_segments(found, segments):
    speaker, truth, predictions = segments
    rows, _ = found
    for model, prediction in predictions.items():
        for number in (0, 3, 4):
            mine = speaker == number
            residual = prediction[mine] - truth[mine]
            ccc = row_of(rows, model, number, "concordance_cc")
            assert ccc["value"] == pytest.approx(
                audmetric.concordance_cc(truth[mine], prediction[mine])
            )
            assert -1 < ccc["ci_low"] < ccc["value"] < ccc["ci_high"] < 1
            for metric, values in (("bias", residual), ("mean_absolute_error", abs(residual))):
                row = row_of(rows, model, number, metric)
                low, high = stats.t.interval(
                    0.95, COUNTS[number] - 1, values.mean(), stats.sem(values)
                )
                assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
                assert row["num_segments"] == COUNTS[number]


def test_a_speaker_of_one_segment_has_values_without_intervals(found):
    rows, _ = found
    ccc = row_of(rows, "a", 6, "concordance_cc")
    assert (ccc["value"], ccc["ci_low"], ccc["reason"]) == (None, None, "no variance")
    bias = row_of(rows, "a", 6, "bias")
    assert bias["value"] is not None
    assert (bias["ci_low"], bias["reason"]) == (None, "too few segments")


def test_shrinkage_draws_small_speakers_further(found):
    rows, _ = found
    biases = {n: row_of(rows, "a", n, "bias") for n in range(len(COUNTS)) if COUNTS[n] > 1}
    middle = np.mean([row["shrunk_value"] for row in biases.values()])
    for row in biases.values():
        assert abs(row["shrunk_value"] - middle) <= abs(row["value"] - middle) + 0.02
        assert row["shrunk_high"] - row["shrunk_low"] < row["ci_high"] - row["ci_low"]
    drawn = {
        n: abs(r["shrunk_value"] - r["value"]) / r["standard_error"] for n, r in biases.items()
    }
    assert drawn[4] > 0


def test_summaries_equal_what_numpy_says_of_speakers_with_enough_segments(found, segments):
    speaker, truth, predictions = segments
    _, summaries = found
    counted = [n for n, count in enumerate(COUNTS) if count >= MIN_SEGMENTS]
    for model, prediction in predictions.items():
        means = [(truth[speaker == n].mean(), prediction[speaker == n].mean()) for n in counted]
        ccc = [
            audmetric.concordance_cc(truth[speaker == n], prediction[speaker == n]) for n in counted
        ]
        mae = [abs(truth - prediction)[speaker == n].mean() for n in counted]
        differences = [abs(t - p) for t, p in means]
        largest = sorted(mae)[-1]
        expected = {
            "speaker_average_mean_absolute_error": np.mean(differences),
            "speaker_ranking": stats.spearmanr(*zip(*means, strict=True)).statistic,
            "speaker_concordance_cc_p05": np.quantile(ccc, 0.05),
            "speaker_concordance_cc_p50": np.median(ccc),
            "speaker_mean_absolute_error_p95": np.quantile(mae, 0.95),
            "speaker_mean_absolute_error_tail_share": 0.1 * len(mae) * largest / sum(mae),
        }
        for metric, value in expected.items():
            row = summaries[model, metric]
            assert row["value"] == pytest.approx(value), metric
            assert row["num_speakers"] == len(counted)
            assert row["slice_by"] == row["slice"] == ""
        average = summaries[model, "speaker_average_mean_absolute_error"]
        interval = stats.t.interval(
            0.95, len(counted) - 1, np.mean(differences), stats.sem(differences)
        )
        assert (average["ci_low"], average["ci_high"]) == pytest.approx(interval)


def test_models_are_compared_by_who_they_predict_well(found, segments):
    speaker, truth, predictions = segments
    _, summaries = found
    counted = [n for n, count in enumerate(COUNTS) if count >= MIN_SEGMENTS]
    ccc = {
        model: [audmetric.concordance_cc(truth[speaker == n], p[speaker == n]) for n in counted]
        for model, p in predictions.items()
    }
    row = summaries["a", "speaker_agreement"]
    assert row["value"] == pytest.approx(stats.spearmanr(ccc["a"], ccc["b"]).statistic)
    assert (row["slice_by"], row["slice"]) == ("model_version", "model_version=a-model_version=b")
    assert row["num_speakers"] == len(counted)


def test_doubling_the_segments_of_a_speaker_changes_no_summary(found, segments):
    speaker, truth, predictions = segments
    rows = np.concatenate([np.arange(speaker.size), *[np.flatnonzero(speaker == 3)] * 4])
    doubled = {model: values[rows] for model, values in predictions.items()}
    _, again = summarised(speaker[rows], truth[rows], doubled)
    _, once = found
    assert again.keys() == once.keys()
    for key in once:
        if not key[1].endswith("_spread"):
            assert again[key]["value"] == pytest.approx(once[key]["value"], abs=1e-12), key
            assert again[key]["num_speakers"] == once[key]["num_speakers"]


def test_without_speakers_that_count_there_is_no_summary():
    speaker = np.repeat([0, 1], [5, 30])
    random = np.random.default_rng(1)
    truth = random.uniform(0, 1, 35)
    _, summaries = summarised(speaker, truth, {"a": truth + random.normal(0, 0.1, 35)})
    assert {row["reason"] for row in summaries.values()} == {FEW_SPEAKERS}
    assert {row["value"] for row in summaries.values()} == {None}


def test_emotions_of_speakers(segments):
    speaker, _, _ = segments
    rows, summaries = summarised(*segments, target="emotion")
    assert summaries == {}
    for number in range(len(COUNTS)):
        row = row_of(rows, "a", number, "accuracy")
        num = int((speaker == number).sum())
        hits = num if number % 2 == 0 else 0
        assert row["value"] == hits / num
        assert row["num_segments"] == num
        wilson = stats.binomtest(hits, num).proportion_ci(method="wilson")
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((wilson.low, wilson.high))
        # Who says one emotion only has the recall of that one for UAR.
        recall = row_of(rows, "a", number, "unweighted_average_recall")
        assert (recall["ci_low"], recall["ci_high"]) == pytest.approx((wilson.low, wilson.high))
        assert row_of(rows, "a", number, "unweighted_average_f1")["reason"] == NO_INTERVAL


def test_recall_and_precision_of_speakers_have_intervals_of_their_own_counts():
    random = np.random.default_rng(5)
    speaker = np.repeat([0, 1], [30, 9])
    truth = np.array(["anger", "joy"])[random.integers(0, 2, 39)]
    said = np.where(random.random(39) < 0.7, truth, "joy")
    table = joined(speaker, random.random(39), {"a": random.random(39)})
    for name, values in (("truth_emotion", truth), ("prediction_emotion", said)):
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    rows = summarised_emotions(table)
    for number in (0, 1):
        of = speaker == number
        for metric, among in (("recall", truth), ("precision", said)):
            hits = int((of & (truth == "joy") & (said == "joy")).sum())
            num = int((of & (among == "joy")).sum())
            row = row_of(rows, "a", number, f"{metric}[joy]")
            wilson = stats.binomtest(hits, num).proportion_ci(method="wilson")
            assert row["value"] == hits / num
            assert (row["ci_low"], row["ci_high"]) == pytest.approx((wilson.low, wilson.high))
