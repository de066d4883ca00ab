"""The audit from files to tables, against statistics computed another way."""

import dataclasses
import hashlib
import json
from pathlib import Path

import audmetric
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from pipelines.audit import audit
from pipelines.audit_config import AuditConfig, Minimums
from pipelines.transforms.reading import PredictionFile
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.schema import (
    DIMENSIONS,
    SPEAKERS,
    STATISTICS,
    ConfigError,
    RunError,
)

TABLES = (
    "statistics",
    "speakers",
    "densities",
    "residuals",
    "confusion",
    "extremes",
    "ledger",
    "replicates",
    "sketches",
)


def jensen_shannon(truth, prediction):
    shares = [np.histogram(np.clip(s, 0, 1), np.arange(11) / 10)[0] for s in (truth, prediction)]
    return jensenshannon(*shares, base=2)


def in_quarters(score, quarter):
    """Recall or precision of the n-th quarter of the scale."""

    def metric(truth, prediction):
        sides = [np.digitize(side, [0.25, 0.5, 0.75]) for side in (truth, prediction)]
        return score(*sides, labels=[quarter], average="macro", zero_division=np.nan)

    return metric


THEIRS = {
    "concordance_cc": audmetric.concordance_cc,
    "pearson_cc": audmetric.pearson_cc,
    "mean_squared_error": audmetric.mean_squared_error,
    "mean_absolute_error": audmetric.mean_absolute_error,
    "bias": lambda truth, prediction: np.mean(prediction) - np.mean(truth),
    "jensen_shannon_distance": jensen_shannon,
    "recall[.00-.25]": in_quarters(recall_score, 0),
    "recall[.50-.75]": in_quarters(recall_score, 2),
    "precision[.75-1.00]": in_quarters(precision_score, 3),
}


def run_audit(corpus, output, files=None, config=None, beam_options=(), metadata=None):
    return audit(
        [PredictionFile(uri=uri) for uri in files or corpus.files],
        metadata or corpus.metadata,
        str(output),
        config=config or corpus.config,
        beam_options=beam_options,
        provenance={"runs": ["made up"]},
    )


@pytest.fixture(scope="module")
def audited(corpus, tmp_path_factory):
    return run_audit(corpus, tmp_path_factory.mktemp("audit"))


def table_of(audited, name):
    return pq.read_table(f"{audited.output}/{name}.parquet")


def rows_of(audited, name="statistics", **wanted):
    wanted = {"condition": "clean", **wanted}
    rows = table_of(audited, name).to_pylist()
    return [row for row in rows if all(row[column] == value for column, value in wanted.items())]


def row_of(audited, **wanted):
    (row,) = rows_of(audited, **wanted)
    return row


def scored_by_w2v(corpus, dimension):
    """Which segments model w2v has a value and a truth for: the rules of the join, once more."""
    has_both = np.isfinite(corpus.truth[dimension]) & np.isfinite(corpus.prediction[dimension])
    return has_both & (np.arange(len(corpus.ids)) < 380)


@pytest.mark.parametrize("metric", THEIRS)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_statistics_of_all_segments_equal_audmetric(audited, corpus, dimension, metric):
    is_scored = scored_by_w2v(corpus, dimension)
    row = row_of(audited, model_version="w2v", slice_by="", target=dimension, metric=metric)
    expected = THEIRS[metric](
        corpus.truth[dimension][is_scored], corpus.prediction[dimension][is_scored]
    )
    assert row["value"] == pytest.approx(expected, abs=1e-9)
    assert row["num_segments"] == is_scored.sum()
    assert row["condition"] == "clean"
    assert row["slice"] == ""


@pytest.mark.parametrize("metric", ["concordance_cc", "jensen_shannon_distance", "recall[.50-.75]"])
@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize(
    ("slice_by", "name", "wanted"),
    [
        ("sex", "sex=female", {"sex": "female"}),
        ("sex", "sex=(missing)", {"sex": None}),
        ("accent", "accent=welsh", {"accent": "welsh"}),
        ("sex,accent", "sex=male,accent=scottish", {"sex": "male", "accent": "scottish"}),
    ],
)
def test_statistics_of_slices_equal_audmetric(
    audited, corpus, dimension, slice_by, name, wanted, metric
):
    is_wanted = scored_by_w2v(corpus, dimension)
    for column, value in wanted.items():
        is_wanted &= getattr(corpus, column) == value
    row = row_of(audited, slice_by=slice_by, slice=name, target=dimension, metric=metric)
    expected = THEIRS[metric](
        corpus.truth[dimension][is_wanted], corpus.prediction[dimension][is_wanted]
    )
    assert row["value"] == pytest.approx(expected, abs=1e-9)
    assert row["num_segments"] == is_wanted.sum()
    assert row["num_speakers"] == len(set(corpus.speaker[is_wanted]))


def test_slices_add_up_to_all_segments(audited):
    for target in DIMENSIONS:
        found = rows_of(audited, model_version="w2v", target=target, metric="concordance_cc")
        total = {row["slice_by"]: 0 for row in found}
        for row in found:
            total[row["slice_by"]] += row["num_segments"]
        assert set(total) == {"", "sex", "accent", "sex,accent"}
        assert len(set(total.values())) == 1


def intervals_by_repeating_segments(corpus, wanted, metric, num_replicates):
    """The bootstrap written out: each replicate repeats the segments of each speaker."""
    speaker = np.array([name or "(missing)" for name in corpus.speaker])
    names = sorted(set(speaker))
    keys = speaker_keys(names)
    weights = poisson_weights(keys, seed=0, num_replicates=num_replicates)
    position = {name: index for index, name in enumerate(names)}
    times = weights[:, [position[name] for name in speaker]]
    for replicate in times:
        yield [
            metric(
                np.repeat(corpus.truth["arousal"][mask], replicate[mask]),
                np.repeat(corpus.prediction["arousal"][mask], replicate[mask]),
            )
            for mask in wanted
        ]


def test_intervals_of_slices_and_gaps_equal_the_bootstrap_written_out(audited, corpus):
    is_scored = scored_by_w2v(corpus, "arousal")
    masks = [is_scored & (corpus.accent == "scottish"), is_scored & (corpus.accent != "scottish")]
    replicates = np.array(
        list(intervals_by_repeating_segments(corpus, masks, audmetric.concordance_cc, 60))
    )
    counts = np.array(list(intervals_by_repeating_segments(corpus, masks, lambda t, p: len(t), 60)))
    values = [
        audmetric.concordance_cc(corpus.truth["arousal"][mask], corpus.prediction["arousal"][mask])
        for mask in masks
    ]
    num_speakers = [len({str(name) for name in corpus.speaker[mask]}) for mask in masks]
    squares = np.array([mask.sum() ** 2 for mask in masks])
    speakers = np.minimum(squares / counts.var(axis=0), num_speakers)
    factors = speakers / (speakers - 1)

    row = row_of(audited, slice="accent=scottish", target="arousal", metric="concordance_cc")
    z = np.arctanh(replicates[:, 0])
    reach = stats.t.ppf(0.975, speakers[0] - 1) * z.std() * factors[0]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(
        tuple(np.tanh(np.arctanh(values[0]) + np.array([-reach, reach]))), abs=1e-9
    )
    assert row["standard_error"] == pytest.approx(replicates[:, 0].std() * np.sqrt(factors[0]))

    row = row_of(
        audited, slice="accent=scottish-rest", target="arousal", metric="concordance_cc_gap"
    )
    variances = replicates.var(axis=0)
    corrected = variances * factors
    error = (replicates[:, 0] - replicates[:, 1]).std() * np.sqrt(corrected.sum() / variances.sum())
    freedom = corrected.sum() ** 2 / (corrected**2 / (speakers - 1)).sum()
    low, high = stats.t.interval(0.95, freedom, values[0] - values[1], error)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-9)


def test_the_planted_gap_is_found_and_no_other_column_is_blamed(audited):
    for dimension in DIMENSIONS:
        row = row_of(
            audited, slice="accent=scottish-rest", target=dimension, metric="concordance_cc_gap"
        )
        assert row["value"] < -0.2
        assert (row["verdict"], row["margin"]) == ("fail", 0.075)
        assert row["p_value"] <= row["p_adjusted_fdr"] <= row["p_adjusted"] < 0.05
        assert row["minimum_detectable_effect"] > 0
    assert {row["verdict"] for row in rows_of(audited, slice="sex=female-sex=male")} == {
        "inconclusive",
        None,
    }


def test_the_gender_score_stands_under_its_own_name(audited):
    for dimension in DIMENSIONS:
        at = {"slice": "sex=female-sex=male", "target": dimension}
        score = row_of(audited, **at, metric="gender_fairness_score")
        assert score["value"] == row_of(audited, **at, metric="concordance_cc_gap")["value"]


@pytest.fixture(scope="module")
def strict(corpus, tmp_path_factory):
    """Margins by permutation, small slices suppressed, and sexes that are not compared."""
    config = dataclasses.replace(
        corpus.config,
        slices=(("accent",), ("sex", "accent")),
        strata=(("sex",),),
        margins_from="permutation",
        minimums=Minimums(segments=60, speakers=3),
        speaker_draws=True,
    )
    files = corpus.files[:2]
    with pytest.MonkeyPatch.context() as patch:  # no speaker here has 200 segments
        patch.setattr("pipelines.transforms.speaker_draws.SEGMENTS_PER_DRAW", 15)
        return run_audit(corpus, tmp_path_factory.mktemp("strict"), files=files, config=config)


def test_the_papers_figure_stands_beside_the_other_metrics_of_speakers(strict, audited):
    found = rows_of(strict, "speakers", metric="concordance_cc_of_draws", target="arousal")
    counts = {
        row["speaker_id"]: row["num_segments"]
        for row in rows_of(strict, "speakers", metric="concordance_cc", target="arousal")
    }
    large = {name for name, count in counts.items() if count >= 15 and name != "(missing)"}
    assert {row["speaker_id"] for row in found} == large
    assert 0 < len(large) < len(counts)
    assert rows_of(audited, "speakers", metric="concordance_cc_of_draws") == []


def test_suppressed_slices_are_listed_and_the_counts_still_add_up(strict):
    found = rows_of(strict, slice_by="sex,accent", target="arousal", metric="concordance_cc")
    assert sum(row["num_segments"] for row in found) == 380
    suppressed = [row for row in found if row["verdict"] == "suppressed"]
    assert 0 < len(suppressed) < len(found)
    for row in suppressed:
        assert row["value"] is row["ci_low"] is None
        assert row["reason"] in ("fewer than 3 speakers", "fewer than 60 segments")
        assert row["num_speakers"] < 3 or row["num_segments"] < 60
    names = {row["slice"] for row in suppressed}
    gaps = rows_of(strict, slice_by="sex,accent", target="arousal", metric="concordance_cc_gap")
    for row in gaps:
        is_suppressed = any(
            row["slice"].startswith(f"{name}-") or row["slice"].endswith(f"-{name}")
            for name in names
        )
        assert (row["verdict"] == "suppressed") == is_suppressed
        assert (row["value"] is None) == is_suppressed


def test_margins_by_permutation_find_the_planted_gap(strict):
    """Where each speaker is in one group; those who are not keep their given margins."""
    row = row_of(
        strict, slice="accent=scottish-rest", target="arousal", metric="concordance_cc_gap"
    )
    assert (row["verdict"], row["p_adjusted"] * 61) == ("fail", pytest.approx(1))
    assert 0 < row["margin"] < abs(row["value"])
    assert strict.audit["configuration"]["margins_from"] == "permutation"


def test_strata_are_broken_down_but_not_compared(strict, audited):
    """The same numbers as of a slice, and no gap; the family is the smaller for it."""
    assert rows_of(strict, slice="sex=female-sex=male") == []
    at = {"slice": "sex=female", "target": "valence", "metric": "concordance_cc"}
    assert row_of(strict, **at)["value"] == row_of(audited, **at)["value"]


@pytest.mark.parametrize("name", ["", "accent=scottish"])
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_residuals_equal_scipy(audited, corpus, dimension, name):
    is_wanted = scored_by_w2v(corpus, dimension)
    if name:
        is_wanted &= corpus.accent == "scottish"
    truth = corpus.truth[dimension][is_wanted]
    residual = truth - corpus.prediction[dimension][is_wanted]
    at = {"model_version": "w2v", "slice": name, "target": dimension}
    by_speaker, by_segment = (
        row_of(audited, **at, metric=f"residual_mean{kind}") for kind in ("", "_by_segment")
    )
    expected = stats.ttest_1samp(residual, 0.0)
    assert by_segment["value"] == by_speaker["value"] == pytest.approx(residual.mean(), abs=1e-9)
    assert by_segment["p_value"] == pytest.approx(expected.pvalue, rel=1e-6)
    reach = stats.t.ppf(0.975, by_speaker["degrees_of_freedom"]) * by_speaker["standard_error"]
    assert by_speaker["ci_high"] == pytest.approx(by_speaker["value"] + reach)
    assert by_speaker["p_value"] == pytest.approx(
        2
        * stats.t.sf(
            abs(by_speaker["value"] / by_speaker["standard_error"]),
            by_speaker["degrees_of_freedom"],
        )
    )
    slope, intercept = np.polyfit(truth, residual, 1)
    assert row_of(audited, **at, metric="residual_slope")["value"] == pytest.approx(slope)
    assert row_of(audited, **at, metric="residual_intercept")["value"] == pytest.approx(intercept)


@pytest.mark.parametrize("name", ["", "accent=scottish", "sex=female,accent=welsh"])
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_quantiles_of_residuals_are_within_half_a_bin_of_numpy(audited, corpus, dimension, name):
    is_wanted = scored_by_w2v(corpus, dimension)
    if name:
        is_wanted &= corpus.accent == name.rpartition("=")[2]
    if "sex" in name:
        is_wanted &= corpus.sex == "female"
    residuals = (corpus.truth[dimension] - corpus.prediction[dimension])[is_wanted]
    residuals = np.clip(residuals, -1, 1)
    at = {"model_version": "w2v", "slice": name, "target": dimension}
    for percent in (5, 25, 50, 75, 95):
        row = row_of(audited, **at, metric=f"residual_p{percent:02}")
        assert row["value"] == pytest.approx(np.quantile(residuals, percent / 100), abs=0.005)
        assert row["num_segments"] == residuals.size
        assert row["ci_low"] is None
        assert row["reason"] == "no interval is computed"
    counted = rows_of(audited, "residuals", **at)
    assert sum(row["num_segments"] for row in counted) == residuals.size
    edges = np.append(np.arange(-1, 1, 0.01), [1.0])
    in_bins = np.bincount(np.digitize(residuals, edges), minlength=202)
    by_bin = np.zeros(202, dtype=int)
    by_bin[[row["bin"] for row in counted]] = [row["num_segments"] for row in counted]
    # A residual on an edge may be rounded to either side of it.
    assert np.abs(np.cumsum(by_bin) - np.cumsum(in_bins)).max() <= 1


def test_suppressed_slices_have_no_residuals(strict):
    def slices(rows):
        return {(r["model_version"], r["condition"], r["slice"], r["target"]) for r in rows}

    statistics = table_of(strict, "statistics").to_pylist()
    of_bias = [row for row in statistics if row["metric"] == "bias"]
    shown = slices(row for row in of_bias if row["verdict"] is None)
    assert len(shown) < len(slices(of_bias))
    assert slices(row for row in statistics if row["metric"] == "residual_p50") == shown
    assert slices(table_of(strict, "residuals").to_pylist()) == shown


def test_tests_of_residuals_are_corrected_for_being_many(audited):
    for metric in ("residual_mean", "residual_mean_by_segment"):
        found = [r for r in rows_of(audited, model_version="w2v", metric=metric) if r["p_value"]]
        smallest = min(found, key=lambda row: row["p_value"])
        assert smallest["p_adjusted"] == pytest.approx(min(smallest["p_value"] * len(found), 1))
        assert {row["verdict"] for row in found} == {None}


def test_gaps_compare_pairs_and_each_slice_with_the_rest(audited):
    gaps = rows_of(audited, model_version="w2v", target="valence", metric="bias_gap")
    assert {row["slice"] for row in gaps if row["slice_by"] == "accent"} == {
        "accent=english-accent=scottish",
        "accent=english-accent=welsh",
        "accent=scottish-accent=welsh",
        "accent=english-rest",
        "accent=scottish-rest",
        "accent=welsh-rest",
    }
    assert [row["slice"] for row in gaps if row["slice_by"] == "sex"] == ["sex=female-sex=male"]


def test_conditions_are_audited_apart_and_a_constant_model_has_no_skill(audited, corpus):
    ccc, pcc = (
        row_of(audited, condition="babble", slice_by="", target="arousal", metric=metric)
        for metric in ("concordance_cc", "pearson_cc")
    )
    assert (ccc["value"], ccc["num_segments"]) == (0, 50)
    assert ccc["num_speakers"] == len(set(corpus.speaker[:50]))
    assert (pcc["value"], pcc["ci_low"], pcc["reason"]) == (None, None, "no variance")


def test_emotions_equal_audmetric(audited, corpus):
    has_truth = [n for n in range(100) if corpus.truth["emotion"][n] is not None]
    truth = corpus.truth["emotion"][has_truth].tolist()
    said = corpus.prediction["emotion"][has_truth].tolist()
    found = {row["metric"]: row for row in rows_of(audited, model_version="svm", slice_by="")}
    assert found["unweighted_average_recall"]["value"] == pytest.approx(
        audmetric.unweighted_average_recall(truth, said), abs=1e-9
    )
    assert found["unweighted_average_precision"]["value"] == pytest.approx(
        audmetric.unweighted_average_precision(truth, said), abs=1e-9
    )
    assert found["unweighted_average_f1"]["value"] == pytest.approx(
        audmetric.unweighted_average_fscore(truth, said), abs=1e-9
    )
    assert found["accuracy"]["value"] == pytest.approx(audmetric.accuracy(truth, said), abs=1e-9)
    for emotion, recall in audmetric.recall_per_class(truth, said).items():
        assert found[f"recall[{emotion}]"]["value"] == pytest.approx(recall, abs=1e-9)
    for emotion, precision in audmetric.precision_per_class(truth, said).items():
        assert found[f"precision[{emotion}]"]["value"] == pytest.approx(precision, abs=1e-9)
    for emotion, f1 in audmetric.fscore_per_class(truth, said).items():
        assert found[f"f1[{emotion}]"]["value"] == pytest.approx(f1, abs=1e-9)
    emotions = sorted(set(truth))
    matrix = np.zeros((len(emotions), len(emotions)), dtype=int)
    for row in rows_of(audited, "confusion"):
        matrix[emotions.index(row["truth"]), emotions.index(row["prediction"])] = row[
            "num_segments"
        ]
    np.testing.assert_array_equal(matrix, confusion_matrix(truth, said, labels=emotions))


def test_the_ledger_accounts_for_every_row(audited):
    ledger = audited.audit["ledger"]
    assert (ledger["num_predictions"], ledger["num_metadata"]) == (380 + 3 + 4 + 50 + 100, 400)
    svm, babble, w2v = ledger["models"]
    assert (w2v["model_version"], w2v["condition"]) == ("w2v", "clean")
    assert w2v["predictions"] == 387
    assert w2v["duplicate_predictions"] == 4
    assert w2v["conflicting_duplicates"] == 1
    assert w2v["unmatched_predictions"] == 3
    assert w2v["matched"] == 380
    assert w2v["unmatched_metadata"] == 20
    assert w2v["matched_without_speaker"] == 8
    assert w2v["valence_prediction_missing"] == 6
    assert w2v["valence_truth_missing"] == 3
    assert w2v["valence_scored"] == 371
    assert w2v["arousal_scored"] == 380
    assert w2v["emotion_prediction_missing"] == 380
    assert (babble["condition"], babble["matched"], babble["predictions"]) == ("babble", 50, 50)
    assert (svm["matched"], svm["emotion_scored"], svm["emotion_truth_missing"]) == (100, 97, 3)


def test_out_of_range_predictions_are_scored_and_counted(audited, corpus):
    arousal = corpus.prediction["arousal"][:380]
    w2v = audited.audit["ledger"]["models"][-1]
    num_outside = int(((arousal < 0) | (arousal > 1)).sum())
    assert num_outside > 0
    assert w2v["arousal_prediction_out_of_range"] == num_outside
    counted = rows_of(audited, "densities", target="arousal")
    assert sum(row["num_segments"] for row in counted) == 380
    assert {row["prediction_bin"] for row in counted} == set(range(20))


def test_the_density_of_a_cell(audited, corpus):
    is_scored = scored_by_w2v(corpus, "dominance")
    expected, _, _ = np.histogram2d(
        corpus.truth["dominance"][is_scored],
        np.clip(corpus.prediction["dominance"][is_scored], 0, 1),
        bins=20,
        range=[[0, 1], [0, 1]],
    )
    found = np.zeros((20, 20))
    for row in rows_of(audited, "densities", target="dominance"):
        found[row["truth_bin"], row["prediction_bin"]] = row["num_segments"]
    np.testing.assert_array_equal(found, expected)


def test_speakers_equal_audmetric(audited, corpus):
    table = table_of(audited, "speakers")
    assert table.schema == SPEAKERS
    assert len(pc.unique(table["speaker_id"])) == len(set(corpus.speaker))
    for name in ("speaker 00", "speaker 11"):
        is_theirs = scored_by_w2v(corpus, "arousal") & (corpus.speaker == name)
        row = row_of_speaker(audited, name)
        assert row["value"] == pytest.approx(
            audmetric.concordance_cc(
                corpus.truth["arousal"][is_theirs], corpus.prediction["arousal"][is_theirs]
            ),
            abs=1e-9,
        )
        assert row["num_segments"] == is_theirs.sum()


def row_of_speaker(audited, name):
    (row,) = rows_of(
        audited, "speakers", speaker_id=name, target="arousal", metric="concordance_cc"
    )
    return row


def test_segments_without_speaker_are_one_speaker_and_that_is_said(audited):
    assert row_of_speaker(audited, "(missing)")["num_segments"] == 8
    assert "8 segments have no speaker_id" in " ".join(audited.audit["notes"])


def test_the_tables_have_the_schema_of_the_contract(audited):
    assert table_of(audited, "statistics").schema == STATISTICS
    content = json.loads(Path(audited.output, "audit.json").read_text())
    assert content == audited.audit
    assert content["runs"] == ["made up"]
    assert content["verdicts"]["fail"] >= 3


def hashes(output):
    return {
        name: hashlib.sha256(Path(output, f"{name}.parquet").read_bytes()).hexdigest()
        for name in TABLES
    }


def test_the_bytes_do_not_depend_on_processes_nor_on_the_order_of_files(audited, corpus, tmp_path):
    options = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    again = run_audit(corpus, tmp_path, files=corpus.files[::-1], beam_options=options)
    assert hashes(tmp_path) == hashes(audited.output)
    assert again.audit == audited.audit


def test_predictions_that_match_nothing_are_refused(corpus, tmp_path):
    file = str(tmp_path / "predictions.parquet")
    pq.write_table(pa.table({"segment_id": ["a", "b"], "arousal": [0.1, 0.2]}), file)
    with pytest.raises(RunError, match=r"none of the 2 predictions.*'a'.*'episode 0.flac#t=0,1'"):
        run_audit(corpus, tmp_path / "audit", files=[file])
    assert not (tmp_path / "audit" / "audit.json").exists()


def test_a_file_that_cannot_be_read_ends_the_audit(corpus, tmp_path):
    missing = str(tmp_path / "missing.parquet")
    with pytest.raises(RunError, match=r"missing.parquet does not exist"):
        run_audit(
            corpus, tmp_path / "audit", [corpus.files[0], missing], AuditConfig(num_replicates=1)
        )


def test_an_unknown_runner_is_a_clear_error(corpus, tmp_path):
    with pytest.raises(ConfigError, match="FooRunner"):
        run_audit(corpus, tmp_path, beam_options=["--runner=FooRunner"])


def test_replicates_must_be_at_least_one():
    with pytest.raises(ConfigError, match="not 1 or more"):
        AuditConfig(num_replicates=0)
