"""What conditions do to predictions, computed a second time from rows that each draw repeats."""

import hashlib
from pathlib import Path

import audmetric
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from pipelines.audit import audit
from pipelines.audit_config import AuditConfig, Minimums
from pipelines.transforms.break_points import BREAK_DROP
from pipelines.transforms.comparing import NO_SPREAD
from pipelines.transforms.reading import PredictionFile
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys

NUM_SEGMENTS = 600
NUM_SPEAKERS = 18
NUM_REPLICATES = 80
ANY_SIZE = Minimums(segments=1, speakers=1)
EMOTIONS = np.array(["anger", "joy", "sadness"], dtype=object)
ACCENTS = np.array(["english", "irish", "welsh"], dtype=object)
SCALES = {
    "clean": 0.0,
    "white-noise-20db": 0.02,
    "white-noise-10db": 0.15,
    "white-noise-0db": 0.4,
    "phone": 0.0,
    "position-1m": 0.05,
    "position-3m": 0.1,
}
"""How much noise a condition adds to the predictions; "phone" moves those of women alone."""


def make_rows(seed=0):
    """One row a segment and condition; some are not predicted, or not rated."""
    random = np.random.default_rng(seed)
    speaker = random.integers(0, NUM_SPEAKERS, NUM_SEGMENTS)
    known = pd.DataFrame(
        {
            "segment_id": [f"segment {n:03}" for n in range(NUM_SEGMENTS)],
            "speaker": speaker,
            "speaker_id": [f"speaker {n:02}" for n in speaker],
            "sex": np.array(["female", "male"], dtype=object)[speaker % 2],
            "accent": ACCENTS[speaker % 3],
            "truth": random.uniform(0, 1, NUM_SEGMENTS),
            "truth_emotion": random.choice(EMOTIONS, NUM_SEGMENTS),
        }
    )
    known.loc[known.index % 20 == 3, "truth"] = np.nan
    clean = known.truth.fillna(0.5) + random.normal(0, 0.1, NUM_SEGMENTS)
    is_right = random.random(NUM_SEGMENTS) < 0.8
    emotion = np.where(is_right, known.truth_emotion, random.choice(EMOTIONS, NUM_SEGMENTS))
    tables = []
    for condition, scale in SCALES.items():
        rows = known.assign(condition=condition)
        moved = (known.sex == "female") * 0.3 * (0.5 - clean) if condition == "phone" else 0.0
        rows["said"] = clean + random.normal(0, scale, NUM_SEGMENTS) + moved
        is_lost = random.random(NUM_SEGMENTS) < 2 * scale
        rows["said_emotion"] = np.where(is_lost, random.choice(EMOTIONS, NUM_SEGMENTS), emotion)
        tables.append(rows)
    rows = pd.concat(tables, ignore_index=True)
    number = rows.index % NUM_SEGMENTS
    is_rejected = (rows.condition == "white-noise-0db") & (number % 7 == 2)
    rows.loc[(rows.condition == "position-1m") & (number % 11 == 4), "said"] = np.nan
    return rows[~is_rejected]


ROWS = make_rows()


def run_audit(folder, output, options=(), minimums=ANY_SIZE, **more):
    known = ROWS[ROWS.condition == "clean"]
    metadata = known[["segment_id", "speaker_id", "sex", "accent"]].assign(
        arousal=known.truth, emotion=known.truth_emotion
    )
    pq.write_table(
        pa.Table.from_pandas(metadata, preserve_index=False), folder / "metadata.parquet"
    )
    said = ROWS[["segment_id", "condition"]].assign(
        model_version="m", arousal=ROWS.said, emotion=ROWS.said_emotion
    )
    pq.write_table(pa.Table.from_pandas(said, preserve_index=False), folder / "said.parquet")
    return audit(
        [PredictionFile(uri=str(folder / "said.parquet"))],
        str(folder / "metadata.parquet"),
        str(output),
        config=AuditConfig(
            slices=(("sex",), ("accent",)),
            num_replicates=NUM_REPLICATES,
            minimums=minimums,
            **more,
        ),
        beam_options=options,
        provenance={},
    )


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditions")
    return run_audit(folder, folder / "audit", suite="ser-tests")


def row_of(audited, **wanted):
    rows = audited.statistics.to_pylist()
    (row,) = [r for r in rows if all(r[column] == value for column, value in wanted.items())]
    return row


def paired(condition, reference="clean", of=""):
    """Return the segments of a slice that both conditions predict; of "sex=female", or all."""
    rows = ROWS.merge(ROWS[["segment_id", "condition", "said", "said_emotion"]], on="segment_id")
    rows = rows[(rows.condition_x == condition) & (rows.condition_y == reference)]
    if of:
        column, _, value = of.partition("=")
        rows = rows[rows[column] == value]
    return rows


def unchanged(rows):
    return np.mean(np.abs(rows.said_x - rows.said_y) < 0.05)


def mean_shift(rows):
    return np.mean(rows.said_x - rows.said_y)


def mean_absolute_shift(rows):
    return np.mean(np.abs(rows.said_x - rows.said_y))


def same_emotion(rows):
    return np.mean(rows.said_emotion_x == rows.said_emotion_y)


def change_of_ccc(rows):
    ccc = [audmetric.concordance_cc(rows.truth, rows[side]) for side in ("said_x", "said_y")]
    return ccc[0] - ccc[1]


def drawn(rows):
    """Yield the rows as they are, and then once for each replicate, each speaker repeated."""
    names = [f"speaker {n:02}" for n in range(NUM_SPEAKERS)]
    weights = poisson_weights(speaker_keys(names), seed=0, num_replicates=NUM_REPLICATES)
    for weight in [np.ones(NUM_SPEAKERS, dtype=int), *weights]:
        yield rows.loc[rows.index.repeat(weight[rows.speaker])]


def effective(rows):
    counts = np.array([len(one) for one in drawn(rows)])
    return min(counts[0] ** 2 / counts[1:].var(), rows.speaker.nunique())


SHIFTS = {
    ("arousal", "unchanged_share"): unchanged,
    ("arousal", "mean_shift"): mean_shift,
    ("arousal", "mean_absolute_shift"): mean_absolute_shift,
    ("emotion", "unchanged_share"): same_emotion,
}


@pytest.mark.parametrize(("target", "metric"), SHIFTS)
@pytest.mark.parametrize("of", ["", "sex=female"])
@pytest.mark.parametrize(
    ("condition", "reference"),
    [("white-noise-10db", "clean"), ("white-noise-0db", "clean"), ("position-3m", "position-1m")],
)
def test_shifts_equal_the_rows(audited, target, metric, of, condition, reference):
    rows = paired(condition, reference, of)
    if target == "arousal":
        rows = rows[rows.said_x.notna() & rows.said_y.notna()]
    values = np.array([SHIFTS[target, metric](one) for one in drawn(rows)])
    size = effective(rows)
    row = row_of(
        audited,
        slice=",".join(filter(None, (f"condition={condition}-condition={reference}", of))),
        slice_by="condition,sex" if of else "condition",
        condition=condition,
        target=target,
        metric=metric,
    )
    error = values[1:].std() * np.sqrt(size / (size - 1))
    assert row["value"] == pytest.approx(values[0], abs=1e-12)
    assert (row["num_segments"], row["num_speakers"]) == (len(rows), rows.speaker.nunique())
    assert row["standard_error"] == pytest.approx(error, abs=1e-9)
    there, back, factor = {
        "unchanged_share": (lambda v: np.log(v / (1 - v)), lambda z: 1 / (1 + np.exp(-z)), 1.0),
        "mean_shift": (np.asarray, float, 1.0),
        "mean_absolute_shift": (np.log, np.exp, np.sqrt(size / (size - 1))),
    }[metric]
    scaled = there(values)
    spread = scaled[1:].std() * np.sqrt(size / (size - 1)) * factor
    low, high = stats.t.interval(0.95, size - 1, scaled[0], spread)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((back(low), back(high)), abs=1e-9)
    if metric == "mean_shift":
        p = 2 * stats.t.sf(abs(values[0]) / error, size - 1)
        assert row["p_value"] == pytest.approx(p, abs=1e-12)
    else:
        assert row["p_value"] is None


def test_an_emotion_has_no_direction(audited):
    metrics = {
        row["metric"]
        for row in audited.statistics.to_pylist()
        if row["target"] == "emotion" and "shift" in row["metric"]
    }
    assert metrics == set()


GAPS = {
    "concordance_cc_change_gap": (change_of_ccc, ["said_x", "said_y", "truth"]),
    "unchanged_share_gap": (unchanged, ["said_x", "said_y"]),
    "mean_shift_gap": (mean_shift, ["said_x", "said_y"]),
}


@pytest.mark.parametrize("metric", GAPS)
@pytest.mark.parametrize("condition", ["phone", "white-noise-0db"])
@pytest.mark.parametrize(
    ("first", "second"),
    [("sex=female", "sex=male"), ("accent=irish", "rest"), ("accent=irish", "accent=welsh")],
)
def test_gaps_of_changes_equal_the_rows(audited, metric, condition, first, second):
    function, needed = GAPS[metric]
    column, _, value = first.partition("=")
    sides = [paired(condition, of=first)]
    rest = paired(condition)
    sides.append(rest[rest[column] != value] if second == "rest" else paired(condition, of=second))
    sides = [side.dropna(subset=needed) for side in sides]
    values = [np.array([function(one) for one in drawn(side)]) for side in sides]
    sizes = [effective(side) for side in sides]
    gap = values[0] - values[1]
    has_both = np.isfinite(gap)  # a draw may have no speaker of an accent
    values, gap = [side[has_both] for side in values], gap[has_both]
    variances = [side[1:].var() for side in values]
    corrected = [v * size / (size - 1) for v, size in zip(variances, sizes, strict=True)]
    freedom = sum(corrected) ** 2 / sum(
        v**2 / (size - 1) for v, size in zip(corrected, sizes, strict=True)
    )
    num_speakers = sum(side.speaker.nunique() for side in sides)
    freedom = min(freedom, num_speakers - 1)
    error = gap[1:].std() * np.sqrt(sum(corrected) / sum(variances))
    row = row_of(
        audited,
        slice_by=f"condition,{column}",
        slice=f"condition={condition}-condition=clean,{first}-{second}",
        target="arousal",
        metric=metric,
    )
    assert row["value"] == pytest.approx(gap[0], abs=1e-12)
    assert row["standard_error"] == pytest.approx(error, abs=1e-9)
    assert row["degrees_of_freedom"] == pytest.approx(freedom, rel=1e-9)
    low, high = stats.t.interval(0.95, freedom, gap[0], error)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-9)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(gap[0]) / error, freedom), abs=1e-12)
    assert row["num_segments"] == sum(len(side) for side in sides)
    assert row["num_speakers"] == num_speakers
    assert row["verdict"] is None
    seen = (stats.t.ppf(0.975, freedom) + stats.t.ppf(0.8, freedom)) * error
    assert row["minimum_detectable_effect"] == pytest.approx(seen, rel=1e-6)


def test_a_condition_that_moves_women_alone_is_found(audited):
    def gap(condition, metric):
        name = f"condition={condition}-condition=clean,sex=female-sex=male"
        return row_of(audited, slice=name, target="arousal", metric=metric)

    assert gap("phone", "unchanged_share_gap")["p_adjusted"] < 0.001
    assert gap("phone", "concordance_cc_change_gap")["value"] < -0.005
    assert gap("phone", "concordance_cc_change_gap")["p_adjusted"] < 0.05
    assert gap("position-1m", "concordance_cc_change_gap")["p_adjusted"] > 0.05


@pytest.mark.parametrize("metric", ["concordance_cc_change_gap", "unchanged_share_gap"])
def test_a_family_is_a_metric_over_all_conditions_groups_and_targets(audited, metric):
    family = [
        row
        for row in audited.statistics.to_pylist()
        if row["metric"] == metric and row["p_value"] is not None
    ]
    p_values = np.array([row["p_value"] for row in family])
    expected = stats.false_discovery_control(p_values)
    assert [row["p_adjusted_fdr"] for row in family] == pytest.approx(expected.tolist())
    smallest = min(family, key=lambda row: row["p_value"])
    assert smallest["p_adjusted"] == pytest.approx(min(smallest["p_value"] * len(family), 1))
    assert {row["condition"] for row in family} >= set(SCALES) - {"clean"}
    assert {row["slice_by"] for row in family} == {"condition,sex", "condition,accent"}


def test_the_break_point_is_the_mildest_level_from_which_on_too_much_is_lost(audited):
    levels = [20, 10, 0]
    changes = [
        row_of(
            audited,
            slice=f"condition=white-noise-{db}db-condition=clean",
            target="arousal",
            metric="concordance_cc_change",
        )
        for db in levels
    ]
    assert [row["ci_high"] < -BREAK_DROP for row in changes] == [False, True, True]
    row = row_of(
        audited,
        slice="condition=white-noise-*db",
        target="arousal",
        metric="concordance_cc_break_point",
    )
    assert (row["value"], row["condition"], row["reason"]) == (10.0, "clean", None)
    assert row["margin"] == BREAK_DROP


def test_break_points_are_of_slices_too_and_of_families_with_two_levels_at_least(audited):
    rows = [r for r in audited.statistics.to_pylist() if r["metric"].endswith("_break_point")]
    families = {"condition=white-noise-*db", "condition=position-*m"}
    assert {row["slice"] for row in rows if row["slice_by"] == "condition"} == families
    assert {row["slice"] for row in rows if row["slice_by"] == "condition,sex"} == {
        f"{family},sex={sex}" for family in families for sex in ("female", "male")
    }


def test_small_groups_are_suppressed(tmp_path):
    found = run_audit(tmp_path, tmp_path / "audit", minimums=Minimums(segments=225, speakers=3))
    rows = found.statistics.to_pylist()
    of_accents = [
        row
        for row in rows
        if row["slice_by"] == "condition,accent"
        and row["metric"] in (*GAPS, "unchanged_share", "concordance_cc_break_point")
    ]
    assert len(of_accents) > 50
    assert {row["verdict"] for row in of_accents} == {"suppressed"}
    assert {row["value"] for row in of_accents} == {None}
    of_sexes = [row for row in rows if row["slice_by"] == "condition,sex"]
    assert {row["verdict"] for row in of_sexes} == {None}


def test_without_conditions_nothing_is_added(tmp_path):
    files = []
    for name in ("first", "second"):
        uri = tmp_path / f"{name}.csv"
        clean = ROWS[ROWS.condition == "clean"]
        clean[["segment_id"]].assign(arousal=clean.said).to_csv(uri, index=False)
        files.append(PredictionFile(uri=str(uri)))
    clean[["segment_id", "speaker_id", "sex"]].assign(arousal=clean.truth).to_csv(
        tmp_path / "metadata.csv", index=False
    )
    found = audit(
        files,
        str(tmp_path / "metadata.csv"),
        str(tmp_path / "audit"),
        config=AuditConfig(slices=(("sex",),), num_replicates=20),
        provenance={},
    )
    metrics = {row["metric"] for row in found.statistics.to_pylist()}
    assert not {m for m in metrics if "change" in m or "shift" in m or "break" in m}


def test_predictions_that_never_move_have_no_test(tmp_path):
    lines = [f"s{n},{condition},.{n + 1}" for n in range(6) for condition in ("clean", "gain")]
    (tmp_path / "said.csv").write_text("segment_id,condition,arousal\n" + "\n".join(lines))
    known = [f"s{n},{'abc'[n % 3]},.{6 - n}" for n in range(6)]
    (tmp_path / "known.csv").write_text("segment_id,speaker_id,arousal\n" + "\n".join(known))
    found = audit(
        [PredictionFile(uri=str(tmp_path / "said.csv"))],
        str(tmp_path / "known.csv"),
        str(tmp_path / "audit"),
        config=AuditConfig(num_replicates=20),
        provenance={},
    )
    row = row_of(found, metric="mean_shift", target="arousal")
    assert (row["value"], row["ci_low"], row["ci_high"], row["p_value"]) == (0, 0, 0, None)
    assert row["reason"] == NO_SPREAD
    row = row_of(found, metric="unchanged_share", target="arousal")
    assert (row["value"], row["ci_low"], row["ci_high"]) == (1, 1, 1)


def test_the_suite_judges_conditions_that_were_scored(audited):
    tests = pq.read_table(Path(audited.output) / "tests.parquet").to_pylist()
    found = {
        (row["test"], row["target"]): row
        for row in tests
        if row["family"].startswith("robustness") and row["outcome"] != "skipped"
    }
    row = found["Percentage Unchanged Predictions White Noise", "arousal"]
    assert row["condition"] == "white-noise-20db"
    rows = paired("white-noise-20db")
    assert row["value"] == pytest.approx(unchanged(rows), abs=1e-12)
    assert (row["threshold"], row["outcome"]) == (0.9, "pass")
    assert found["Change CCC White Noise", "arousal"]["outcome"] == "pass"
    phone = found["Percentage Unchanged Predictions Low Quality Phone", "arousal"]
    assert phone["value"] == pytest.approx(unchanged(paired("phone")), abs=1e-12)
    assert found["Percentage Unchanged Predictions Low Quality Phone", "emotion"]["value"] == 1
    room = found["Percentage Unchanged Predictions Simulated Position", "arousal"]
    rows = paired("position-3m", "position-1m").dropna(subset=["said_x", "said_y"])
    assert room["slice"] == "condition=position-3m-condition=position-1m"
    assert room["value"] == pytest.approx(unchanged(rows), abs=1e-12)
    assert room["outcome"] == "fail"
    assert len(found) == 10


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [1, 4])
def test_the_bytes_do_not_depend_on_workers(audited, tmp_path, num_workers):
    options = ["--direct_running_mode=multi_threading", f"--direct_num_workers={num_workers}"]
    run_audit(tmp_path, tmp_path / "audit", options, suite="ser-tests")
    hashes = [
        hashlib.sha256(Path(place, "statistics.parquet").read_bytes()).hexdigest()
        for place in (audited.output, tmp_path / "audit")
    ]
    assert hashes[0] == hashes[1]
