"""What a suite of tests asks for, computed a second time from the rows with a weight a segment."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn.metrics import precision_score, recall_score

from pipelines.audit import audit
from pipelines.audit_config import AuditConfig, Minimums
from pipelines.transforms.expected_ranges import BINS_OF_RANGE
from pipelines.transforms.group_sums import read_groups, sum_up_groups
from pipelines.transforms.reading import PredictionFile
from pipelines.transforms.suite_columns import find_groupings
from pipelines.transforms.tables import pack, unpack
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.schema import DIMENSIONS

NUM_SEGMENTS = 1500
NUM_SPEAKERS = 24
EMOTIONS = ("anger", "happiness", "neutral", "sadness")
QUARTERS = (".00-.25", ".25-.50", ".50-.75", ".75-1.00")
REPLICATES = 150


def make_rows(seed=0):
    """Groups that differ in their truth, and a model that treats some of them otherwise."""
    random = np.random.default_rng(seed)
    speaker = random.integers(0, NUM_SPEAKERS, NUM_SEGMENTS)
    rows = pd.DataFrame(
        {
            "segment_id": [f"segment {n:04}" for n in range(NUM_SEGMENTS)],
            "speaker_id": [f"speaker {n:02}" for n in speaker],
            "sex": np.array(["female", "male"], dtype=object)[speaker % 2],
            "accent": np.array(["irish", "scottish", "welsh"], dtype=object)[speaker % 3],
            "language": np.array(["de", "en", "fr"], dtype=object)[speaker // 2 % 3],
            "sentiment": random.choice(["negative", "neutral", "positive"], NUM_SEGMENTS),
            "pitch_hz": 120 + 50.0 * (speaker % 3) + random.normal(0, 8, NUM_SEGMENTS),
            "emotion": random.choice(EMOTIONS, NUM_SEGMENTS, p=[0.4, 0.3, 0.2, 0.1]).astype(object),
        }
    )
    rows.loc[rows.speaker_id == "speaker 05", "accent"] = None
    for dimension in DIMENSIONS:
        shift = 0.15 * (speaker % 3 == 1) + 0.1 * (rows.sex == "male")
        truth = np.clip(random.normal(0.45, 0.18, NUM_SEGMENTS) + shift, 0, 1)
        said = 0.2 + 0.6 * truth + random.normal(0, 0.1 + 0.1 * (speaker % 2), NUM_SEGMENTS)
        said += 0.05 * (rows.sentiment == "positive") * (rows.language == "de")
        rows[dimension], rows[f"said_{dimension}"] = truth, said
    rows.loc[rows.index % 40 == 3, "valence"] = np.nan
    is_right = random.random(NUM_SEGMENTS) < 0.6
    rows["said_emotion"] = np.where(is_right, rows.emotion, random.choice(EMOTIONS, NUM_SEGMENTS))
    rows["pitch_group"] = np.array(["low", "medium", "high"], dtype=object)[speaker % 3]
    return rows


def write(folder, rows, **options):
    names = [c for c in rows.columns if not c.startswith("said_") and c != "pitch_group"]
    table = pa.Table.from_pandas(rows[names], preserve_index=False)
    pq.write_table(table, folder / "metadata.parquet")
    said = {"segment_id": rows.segment_id, "model_version": ["m"] * len(rows)}
    said |= {t: rows[f"said_{t}"] for t in (*DIMENSIONS, "emotion")}
    pq.write_table(pa.table(said), folder / "predictions.parquet")
    config = AuditConfig(
        suite="ser-tests",
        groupings=find_groupings("metadata.parquet", table),
        num_replicates=REPLICATES,
        minimums=Minimums(segments=1, speakers=1),
        **options,
    )
    return audit(
        [PredictionFile(uri=str(folder / "predictions.parquet"))],
        str(folder / "metadata.parquet"),
        str(folder / "audit"),
        config=config,
        provenance={},
    )


@pytest.fixture(scope="module")
def rows():
    return make_rows()


@pytest.fixture(scope="module")
def found(tmp_path_factory, rows):
    statistics = write(tmp_path_factory.mktemp("suite"), rows).statistics.to_pylist()
    return {(r["slice_by"], r["slice"], r["target"], r["metric"]): r for r in statistics}


def stratum_of(rows, target):
    if target == "emotion":
        return rows.emotion.fillna("")
    return np.floor(np.clip(rows[target], 0, 0.99999) * 20 + 1e-12).fillna(-1)


def matched(first, second, target):
    """The segments of both, with a weight each so that strata count alike."""
    sides = [first.assign(stratum=stratum_of(first, target)), second]
    sides[1] = second.assign(stratum=stratum_of(second, target))
    n = [side.groupby("stratum").size() for side in sides]
    alike = (n[0] * n[1] / (n[0] + n[1])).dropna()
    weighed = []
    for side, size in zip(sides, n, strict=True):
        weight = (alike / size).reindex(side.stratum).fillna(0.0).to_numpy()
        weighed.append(side.assign(weight=weight)[weight > 0])
    return weighed


def weighed_ccc(side, target):
    t, p, w = side[target], side[f"said_{target}"], side.weight
    mean_t, mean_p = np.average(t, weights=w), np.average(p, weights=w)
    covariance = np.average((t - mean_t) * (p - mean_p), weights=w)
    spread = np.average((t - mean_t) ** 2, weights=w) + np.average((p - mean_p) ** 2, weights=w)
    return 2 * covariance / (spread + (mean_t - mean_p) ** 2)


def quarter(values):
    return np.digitize(values, [0.25, 0.5, 0.75])


def weighed_share(side, target, part):
    said = side[f"said_{target}"]
    inside = said == part if target == "emotion" else quarter(said) == QUARTERS.index(part)
    return np.average(inside, weights=side.weight)


def weighed_score(score, side, target, part):
    sides = [side[target], side[f"said_{target}"]]
    if target != "emotion":
        sides, part = [quarter(values) for values in sides], QUARTERS.index(part)
    return score(*sides, labels=[part], average="macro", sample_weight=side.weight)


def gaps(rows, column, target, metric):
    """(group, gap against the rest, gap against all groups of one size) of each group."""
    present = rows[rows[column].notna()]
    names = sorted(present[column].unique())
    for name in names:
        one, rest = matched(
            present[present[column] == name], present[present[column] != name], target
        )
        everyone = pd.concat([one, rest.assign(weight=rest.weight * (len(names) - 1))])
        yield name, metric(one) - metric(rest), metric(one) - metric(everyone)


def check(found, column, target, name, expected):
    num = 0
    for group, against_rest, against_all in expected:
        key = (column, f"{column}={group}-rest", target, name)
        assert found[key]["value"] == pytest.approx(against_rest, abs=1e-9), key
        assert found[key]["ci_low"] < against_rest < found[key]["ci_high"], key
        other = found[column, f"{column}={group}-all", target, name]
        assert other["value"] == pytest.approx(against_all, abs=1e-9), key
        assert other["ci_low"] is None
        num += 1
    assert num >= 2


@pytest.mark.parametrize("column", ["accent", "language"])
@pytest.mark.parametrize("target", DIMENSIONS)
def test_means_and_bins_of_matched_groups(found, rows, column, target):
    def mean(side):
        return np.average(side[f"said_{target}"], weights=side.weight)

    check(found, column, target, "matched_mean_prediction_gap", gaps(rows, column, target, mean))
    for part in QUARTERS[1:3]:
        expected = gaps(rows, column, target, lambda side: weighed_share(side, target, part))  # noqa: B023
        check(found, column, target, f"matched_prediction_share[{part}]_gap", expected)


@pytest.mark.parametrize("column", ["accent", "language"])
@pytest.mark.parametrize("emotion", EMOTIONS)
def test_shares_of_emotions_in_matched_groups(found, rows, column, emotion):
    expected = gaps(rows, column, "emotion", lambda side: weighed_share(side, "emotion", emotion))
    check(found, column, "emotion", f"matched_prediction_share[{emotion}]_gap", expected)


@pytest.mark.parametrize("column", ["sex", "pitch_group"])
@pytest.mark.parametrize("target", DIMENSIONS)
def test_rightness_of_matched_groups(found, rows, column, target):
    rated = rows[rows[target].notna()]
    expected = gaps(rated, column, target, lambda side: weighed_ccc(side, target))
    check(found, column, target, "matched_concordance_cc_gap", expected)
    for score, part in itertools.product((recall_score, precision_score), QUARTERS[1:3]):
        kind = score.__name__.removesuffix("_score")
        expected = gaps(rated, column, target, lambda s: weighed_score(score, s, target, part))  # noqa: B023
        check(found, column, target, f"matched_{kind}[{part}]_gap", expected)


@pytest.mark.parametrize("column", ["sex", "pitch_group"])
def test_rightness_of_emotions_in_matched_groups(found, rows, column):
    def uar(side):
        return recall_score(
            side.emotion, side.said_emotion, average="macro", sample_weight=side.weight
        )

    name = "matched_unweighted_average_recall_gap"
    check(found, column, "emotion", name, gaps(rows, column, "emotion", uar))
    for score, part in itertools.product((recall_score, precision_score), EMOTIONS):
        kind = score.__name__.removesuffix("_score")
        expected = gaps(
            rows,
            column,
            "emotion",
            lambda side: weighed_score(score, side, "emotion", part),  # noqa: B023
        )
        check(found, column, "emotion", f"matched_{kind}[{part}]_gap", expected)


@pytest.mark.parametrize("sentiment", ["negative", "neutral", "positive"])
def test_shifts_by_sentiment(found, rows, sentiment):
    shifts = {"mean": {}, "share": {}}
    for language, inside in rows.groupby("language"):
        part, whole = matched(inside[inside.sentiment == sentiment], inside, "arousal")
        means = [np.average(side.said_arousal, weights=side.weight) for side in (part, whole)]
        shares = [weighed_share(side, "arousal", ".50-.75") for side in (part, whole)]
        shifts["mean"][language] = means[0] - means[1]
        shifts["share"][language] = shares[0] - shares[1]
    names = {"mean": "mean_prediction_shift", "share": "prediction_share_shift[.50-.75]"}
    for kind, of_language in shifts.items():
        for language, shift in of_language.items():
            others = np.mean([s for name, s in of_language.items() if name != language])
            name = f"language={language},sentiment={sentiment}"
            key = ("language,sentiment", f"{name}-rest", "arousal", f"matched_{names[kind]}_gap")
            assert found[key]["value"] == pytest.approx(shift - others, abs=1e-9)
            against_all = found[key[0], f"{name}-all", *key[2:]]["value"]
            everyone = np.mean(list(of_language.values()))
            assert against_all == pytest.approx(shift - everyone, abs=1e-9)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_how_often_emotions_are_predicted(found, rows, emotion):
    expected = ((rows.said_emotion == emotion).sum() - (rows.emotion == emotion).sum()) / len(rows)
    row = found["", "", "emotion", f"relative_difference[{emotion}]"]
    assert row["value"] == pytest.approx(expected, abs=1e-12)
    assert row["ci_low"] < expected < row["ci_high"]

    by_speaker = rows.groupby("speaker_id").agg(
        n=("emotion", lambda s: (s == emotion).sum()),
        true=("emotion", lambda s: (s == emotion).mean()),
        said=("said_emotion", lambda s: (s == emotion).mean()),
    )
    counted = by_speaker[by_speaker.n >= 8]
    errors = (counted.said - counted.true).abs()
    row = found["", "", "emotion", f"speaker_class_share_mean_absolute_error[{emotion}]"]
    if len(counted) < 2:
        assert row["value"] is None
        return
    assert row["num_speakers"] == len(counted)
    assert row["value"] == pytest.approx(errors.mean(), abs=1e-12)
    interval = stats.t.interval(0.95, len(errors) - 1, errors.mean(), stats.sem(errors))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval, abs=1e-9)
    row = found["", "", "emotion", f"speaker_class_share_ranking[{emotion}]"]
    assert row["value"] == pytest.approx(stats.spearmanr(counted.true, counted.said).statistic)


def test_shares_in_expected_ranges(found, rows):
    def inside(dimension, emotion, low, high):
        said = rows.loc[rows.emotion == emotion, f"said_{dimension}"]
        return ((said >= low) & (said <= high)).mean()

    for dimension, emotion, low, high in (
        ("arousal", "anger", 0.55, np.inf),
        ("arousal", "sadness", -np.inf, 0.45),
        ("arousal", "neutral", 0.3, 0.6),
        ("dominance", "happiness", 0.3, 0.6),
        ("valence", "happiness", 0.55, np.inf),
        ("valence", "anger", -np.inf, 0.45),
    ):
        row = found["emotion", f"emotion={emotion}", dimension, "expected_range_share"]
        assert row["value"] == pytest.approx(inside(dimension, emotion, low, high), abs=1e-12)
        assert row["num_segments"] == (rows.emotion == emotion).sum()
    assert ("emotion", "emotion=happiness", "arousal", "expected_range_share") not in found


def test_the_error_of_a_gap_is_that_of_copies_of_speakers(found, rows):
    """Each replicate counts a speaker's segments as often as the shared Poisson draw says."""
    speakers = sorted(rows.speaker_id.unique())
    draws = poisson_weights(speaker_keys(speakers), seed=0, num_replicates=REPLICATES)
    gap = []
    for draw in draws:
        copies = rows.loc[np.repeat(rows.index, draw[rows.speaker_id.map(speakers.index)])]
        ((_, against_rest, _), _) = gaps(
            copies, "sex", "arousal", lambda s: weighed_ccc(s, "arousal")
        )
        gap.append(against_rest)
    row = found["sex", "sex=female-rest", "arousal", "matched_concordance_cc_gap"]
    spread = np.std(gap)
    assert spread < row["standard_error"] < spread * np.sqrt(12 / 10)


def test_small_parts_of_the_scale_and_small_groups_are_not_tested(tmp_path, rows, found):
    recall = "matched_recall[.25-.50]_gap"
    assert found["sex", "sex=male-rest", "arousal", recall]["value"] is not None
    few = rows.copy()
    few["arousal"] = np.where((few.arousal >= 0.25) & (few.arousal < 0.5), 0.6, few.arousal)
    few.loc[few.index < 20, "arousal"] = 0.4
    few.loc[(few.accent == "welsh") & (few.speaker_id > "speaker 04"), "accent"] = None
    again = write(tmp_path, few).statistics.to_pylist()
    again = {(r["slice_by"], r["slice"], r["target"], r["metric"]): r for r in again}
    row = again["sex", "sex=male-rest", "arousal", recall]
    assert row["value"] is None
    assert row["reason"] == "fewer than 6.7 % of the segments lie in this part of the scale"
    row = again["accent", "accent=welsh-rest", "arousal", "matched_mean_prediction_gap"]
    assert row["num_speakers"] > 1
    assert row["reason"] == "fewer than 2 speakers"


def joined_table(rows):
    columns = {"condition": ["clean"] * len(rows), "model_version": ["m"] * len(rows)}
    columns["speaker_id"] = rows.speaker_id
    columns["suite:sex"] = "sex=" + rows.sex
    for target in (*DIMENSIONS, "emotion"):
        columns |= {f"truth_{target}": rows[target], f"prediction_{target}": rows[f"said_{target}"]}
    table = pa.table(columns)
    kinds = {pa.large_string(): pa.string()}
    return table.cast(pa.schema([(f.name, kinds.get(f.type, f.type)) for f in table.schema]))


def test_the_order_in_which_partitions_come_changes_nothing(rows):
    table = joined_table(rows)
    parts = [sum_up_groups((n, table.slice(n * 300, 300))) for n in range(5)]
    packed = [p for part in parts for key, p in part if key == ("m", "sex", "arousal")]
    config = AuditConfig(num_replicates=20)
    one, other = (read_groups(order, config) for order in (packed, packed[::-1]))
    for left, right in zip(one, other, strict=True):
        assert left.name == right.name
        assert (left.sums.counts == right.sums.counts).all()
        for a, b in zip(
            left.sums.moments.as_columns().values(),
            right.sums.moments.as_columns().values(),
            strict=True,
        ):
            assert (a == b).all()
    assert unpack(pack(unpack(packed[0]))).equals(unpack(packed[0]))


def test_only_clean_segments_take_part(rows):
    table = joined_table(rows)
    noisy = table.set_column(0, "condition", pa.array(["noise"] * len(rows)))
    assert list(sum_up_groups((0, noisy))) == []


def test_both_ends_of_an_expected_range_belong_to_it():
    said = [0.29, 0.3, 0.45, 0.46, 0.54, 0.55, 0.6, 0.61]
    size = len(said)
    rows = pd.DataFrame({"speaker_id": ["a", "b"] * 4, "sex": ["male"] * size})
    for target in (*DIMENSIONS, "emotion"):
        rows[target] = 0.5 if target != "emotion" else "neutral"
        rows[f"said_{target}"] = said if target != "emotion" else "neutral"
    packed = dict(sum_up_groups((0, joined_table(rows))))
    (group,) = read_groups([packed["m", "emotion", "arousal"]], AuditConfig(num_replicates=5))
    inside = dict(zip(group.sums.bins, group.sums.counts[0].sum(axis=0).tolist(), strict=True))
    shares = {place: sum(inside[name] for name in names) for place, names in BINS_OF_RANGE.items()}
    assert shares == {
        "low": sum(value <= 0.45 for value in said),
        "neutral": sum(0.3 <= value <= 0.6 for value in said),
        "high": sum(value >= 0.55 for value in said),
    }
