"""Models side by side, and conditions beside clean, against the bootstrap written out."""

import hashlib
from pathlib import Path

import audmetric
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from pipelines.audit import audit
from pipelines.audit_config import AuditConfig, Minimums
from pipelines.transforms.comparing import NO_SPREAD
from pipelines.transforms.pairing import NOTHING_SHARED, correct_family
from pipelines.transforms.reading import PredictionFile
from pipelines.transforms.sharing import MAX_MODELS_IN_PAIRS, pairs_of
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.intervals import paired_estimate
from ser_model.schema import STATISTICS

NUM_SEGMENTS = 300
NUM_SPEAKERS = 12
NUM_REPLICATES = 60
EMOTIONS = np.array(["anger", "joy", "sadness"], dtype=object)
ALL_BUT_SOME = np.arange(NUM_SEGMENTS) % 9 != 4
LATER = np.arange(NUM_SEGMENTS) >= 30
SPEAKER = np.random.default_rng(3).integers(0, NUM_SPEAKERS, NUM_SEGMENTS)
IS_FEMALE = SPEAKER % 2 == 0

SIDES = {
    "large": (0.1, np.ones(NUM_SEGMENTS, dtype=bool)),
    "small": (0.25, ALL_BUT_SOME),
    "same": (0.1, np.ones(NUM_SEGMENTS, dtype=bool)),
    "large noise": (0.3, LATER),
}
"""Noise of a model (and condition), and which segments it predicts."""


def make_sides(seed=0):
    random = np.random.default_rng(seed)
    truth = {"arousal": random.uniform(0, 1, NUM_SEGMENTS), "emotion": random.choice(EMOTIONS, 300)}
    said = {}
    for name, (noise, _) in SIDES.items():
        if name == "same":
            said[name] = said["large"]
            continue
        wrong = random.random(NUM_SEGMENTS) < noise * 2
        emotion = np.where(wrong, random.choice(EMOTIONS, NUM_SEGMENTS), truth["emotion"])
        arousal = truth["arousal"] + random.normal(0, noise, NUM_SEGMENTS)
        said[name] = {"arousal": arousal, "emotion": emotion}
    return truth, said


TRUTH, SAID = make_sides()


def write_corpus(folder):
    ids = np.array([f"segment {n:03}" for n in range(NUM_SEGMENTS)], dtype=object)
    metadata = {
        "segment_id": ids,
        "speaker_id": [f"speaker {n}" for n in SPEAKER],
        "sex": np.where(IS_FEMALE, "female", "male"),
        **TRUTH,
    }
    pq.write_table(pa.table(metadata), folder / "metadata.parquet")
    files = []
    for name, (_, has) in SIDES.items():
        model, _, condition = name.partition(" ")
        columns = {"segment_id": ids[has], **{t: v[has] for t, v in SAID[name].items()}}
        columns["model_version"] = [model] * has.sum()
        columns["condition"] = [condition or "clean"] * has.sum()
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        files.append(str(folder / f"{name}.parquet"))
    return files


def run_audit(folder, files, output, options=()):
    return audit(
        [PredictionFile(uri=uri) for uri in files],
        str(folder / "metadata.parquet"),
        str(output),
        config=AuditConfig(
            slices=(("sex",),),
            num_replicates=NUM_REPLICATES,
            minimums=Minimums(segments=1, speakers=1),
        ),
        beam_options=options,
        provenance={},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(scope="module")
def audited(folder):
    return run_audit(folder, write_corpus(folder), folder / "audit")


def row_of(audited, **wanted):
    rows = audited.statistics.to_pylist()
    (row,) = [r for r in rows if all(r[column] == value for column, value in wanted.items())]
    return row


def bootstrap_written_out(sides, target, mask, metric):
    """Return the paired differences, and the numbers of segments: each replicate repeats rows."""
    names = [f"speaker {n}" for n in range(NUM_SPEAKERS)]
    weights = poisson_weights(speaker_keys(names), seed=0, num_replicates=NUM_REPLICATES)
    rows = np.flatnonzero(mask)
    differences, counts = [], []
    for weight in [np.ones(NUM_SPEAKERS, dtype=int), *weights]:
        drawn = np.repeat(rows, weight[SPEAKER[rows]])
        values = [metric(TRUTH[target][drawn], SAID[side][target][drawn]) for side in sides]
        differences.append(values[0] - values[1])
        counts.append(drawn.size)
    return np.array(differences), np.array(counts)


def unweighted_average_recall(truth, prediction):
    return audmetric.unweighted_average_recall(truth.tolist(), prediction.tolist())


@pytest.mark.parametrize(
    ("target", "metric", "reference"),
    [
        ("arousal", "concordance_cc", audmetric.concordance_cc),
        ("arousal", "mean_absolute_error", audmetric.mean_absolute_error),
        ("emotion", "unweighted_average_recall", unweighted_average_recall),
    ],
)
@pytest.mark.parametrize("name", ["", "sex=female"])
@pytest.mark.parametrize(
    ("sides", "compared", "kind"),
    [
        (("large", "small"), "model_version=large-model_version=small", "difference"),
        (("large noise", "large"), "condition=noise-condition=clean", "change"),
    ],
)
def test_comparisons_equal_the_bootstrap_written_out(
    audited, target, metric, reference, name, sides, compared, kind
):
    has_both = SIDES[sides[0]][1] & SIDES[sides[1]][1]
    mask = has_both & IS_FEMALE if name else has_both
    differences, counts = bootstrap_written_out(sides, target, mask, reference)
    num_speakers = len(set(SPEAKER[mask]))
    size = min(counts[0] ** 2 / counts[1:].var(), num_speakers)
    error = differences[1:].std() * np.sqrt(size / (size - 1))
    low, high = stats.t.interval(0.95, size - 1, differences[0], error)
    row = row_of(
        audited,
        slice=f"{compared},{name}" if name else compared,
        target=target,
        metric=f"{metric}_{kind}",
    )
    assert row["value"] == pytest.approx(differences[0], abs=1e-12)
    assert row["standard_error"] == pytest.approx(error, abs=1e-12)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-9)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(differences[0]) / error, size - 1))
    assert row["degrees_of_freedom"] == pytest.approx(size - 1)
    assert (row["num_segments"], row["num_speakers"]) == (mask.sum(), num_speakers)
    column = "model_version" if kind == "difference" else "condition"
    assert row["slice_by"] == (f"{column},sex" if name else column)
    assert row["model_version"] == "large"
    assert row["minimum_detectable_effect"] > row["standard_error"]


def test_the_worse_model_and_the_noise_are_found(audited):
    for compared, kind, sign in (
        ("model_version=large-model_version=small", "difference", 1),
        ("condition=noise-condition=clean", "change", -1),
    ):
        row = row_of(audited, slice=compared, target="arousal", metric=f"concordance_cc_{kind}")
        assert row["value"] * sign > 0.1
        assert row["p_adjusted"] < 0.05


def test_the_notes_say_which_comparisons_rest_on_fewer_segments(audited):
    num_small, num_later = ALL_BUT_SOME.sum(), LATER.sum()
    assert [note for note in audited.audit["notes"] if "compared" in note] == [
        f"model_version=large-model_version=small, clean: compared on the segments that both have: "
        f"arousal {num_small} of 300 and {num_small}, emotion {num_small} of 300 and {num_small}",
        f"condition=noise-condition=clean, model large: compared on the segments that both have: "
        f"arousal {num_later} of {num_later} and 300, emotion {num_later} of {num_later} and 300",
        f"model_version=same-model_version=small, clean: compared on the segments that both have: "
        f"arousal {num_small} of 300 and {num_small}, emotion {num_small} of 300 and {num_small}",
    ]


def test_identical_predictions_differ_by_nothing(audited):
    row = row_of(
        audited,
        slice="model_version=large-model_version=same",
        target="arousal",
        metric="concordance_cc_difference",
    )
    assert (row["value"], row["ci_low"], row["ci_high"], row["p_value"]) == (0, 0, 0, None)
    assert row["reason"] == NO_SPREAD


def test_conditions_of_different_models_are_not_compared(audited):
    names = {row["slice"] for row in audited.statistics.to_pylist() if "_change" in row["metric"]}
    assert names == {
        "condition=noise-condition=clean",
        "condition=noise-condition=clean,sex=female",
        "condition=noise-condition=clean,sex=male",
        "condition=noise-condition=clean,sex=female-sex=male",
    }


def test_all_segments_and_slices_are_families_apart(audited):
    found = [
        row
        for row in audited.statistics.to_pylist()
        if row["metric"] == "concordance_cc_difference" and row["p_value"] is not None
    ]
    for column in ("model_version", "model_version,sex"):
        family = [row for row in found if row["slice_by"] == column]
        p_values = np.array([row["p_value"] for row in family])
        smallest = min(family, key=lambda row: row["p_value"])
        assert smallest["p_adjusted"] == pytest.approx(min(smallest["p_value"] * len(family), 1))
        expected = stats.false_discovery_control(p_values)
        assert [row["p_adjusted_fdr"] for row in family] == pytest.approx(expected.tolist())
    assert {row["slice_by"] for row in found} == {"model_version", "model_version,sex"}


def test_sides_without_a_common_segment_say_so(tmp_path):
    metadata = pa.table(
        {"segment_id": list("abcd"), "speaker_id": list("xyxy"), "arousal": [0.1, 0.2, 0.6, 0.9]}
    )
    pq.write_table(metadata, tmp_path / "metadata.parquet")
    files = []
    for model, ids in (("first", "ab"), ("second", "cd")):
        file = tmp_path / f"{model}.csv"
        file.write_text("segment_id,arousal\n" + "".join(f"{i},.{ord(i)}\n" for i in ids))
        files.append(PredictionFile(uri=str(file)))
    found = audit(
        files,
        str(tmp_path / "metadata.parquet"),
        str(tmp_path / "audit"),
        config=AuditConfig(num_replicates=10),
        provenance={},
    )
    row = row_of(found, metric="bias_difference")
    assert (row["value"], row["num_segments"], row["reason"]) == (None, 0, NOTHING_SHARED)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [1, 4, 16])
def test_the_bytes_do_not_depend_on_workers_nor_on_the_order_of_files(
    audited, folder, tmp_path, num_workers
):
    options = ["--direct_running_mode=multi_threading", f"--direct_num_workers={num_workers}"]
    files = [str(folder / f"{name}.parquet") for name in SIDES][::-1]
    run_audit(folder, files, tmp_path, options)
    hashes = [
        hashlib.sha256(Path(place, "statistics.parquet").read_bytes()).hexdigest()
        for place in (audited.output, tmp_path)
    ]
    assert hashes[0] == hashes[1]


def test_many_models_are_compared_with_the_first_only():
    models = [f"model {number:02}" for number in range(MAX_MODELS_IN_PAIRS + 1)]
    pairs = pairs_of([(model, "clean") for model in models])
    assert [pair.second[0] for pair in pairs] == models[1:]
    assert {pair.first[0] for pair in pairs} == {models[0]}
    assert len(pairs_of([(model, "clean") for model in models[1:]])) == 45
    assert pairs_of([("a", "noise"), ("b", "babble")]) == []


def test_a_condition_without_clean_is_not_compared():
    assert [pair.kind for pair in pairs_of([("a", "noise"), ("b", "clean")])] == []


def test_rows_without_a_p_value_are_in_no_family():
    empty = dict.fromkeys(STATISTICS.names)
    head = {"slice_by": "condition", "slice": "", "target": "arousal", "metric": "bias_change"}
    rows = [
        {**empty, **head, "model_version": "a", "condition": c, "num_segments": 1, "p_value": p}
        for c, p in (("x", None), ("y", 0.03), ("z", 0.02))
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=STATISTICS)
    found = correct_family((("change", "a"), [batch])).to_pylist()
    adjusted = {row["condition"]: row["p_adjusted"] for row in found}
    assert adjusted == {"x": None, "y": 0.04, "z": 0.04}


@pytest.mark.parametrize("num_speakers", [6, 24])
def test_equal_models_differ_significantly_in_five_percent_of_corpora(num_speakers):
    """MAE of two models with speaker effects of their own, ICC about .3, in 600 corpora."""
    random = np.random.default_rng(num_speakers)
    keys = speaker_keys([str(n) for n in range(num_speakers)])
    weights = poisson_weights(keys, seed=0, num_replicates=400)
    weights = np.vstack([np.ones((1, num_speakers)), weights])
    num_found = 0
    for _ in range(600):
        effect = random.normal(0, 0.65, num_speakers) + random.normal(0, 1, (15, num_speakers))
        estimate = paired_estimate(
            weights @ effect.mean(axis=0) / np.maximum(weights.sum(axis=1), 1), num_speakers
        )
        num_found += estimate.p_value < 0.05
    assert 0.02 <= num_found / 600 <= 0.08
