"""Which groups a segment is in, and what metadata is refused."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.transforms.suite_columns import (
    LANGUAGE_AND_SENTIMENT,
    PITCH_GROUP,
    find_groupings,
    suite_columns,
)
from ser_model.schema import ManifestError


def metadata(**columns):
    return pa.table(
        {"segment_id": [f"{n}" for n in range(len(next(iter(columns.values()))))]} | columns
    )


def test_what_there_are_columns_for():
    assert find_groupings("m", metadata(age=[1])) == ()
    assert find_groupings("m", metadata(sentiment=["neutral"])) == ()
    table = metadata(sex=["male"], accent=["a"], language=["de"], sentiment=[None], pitch=[1.0])
    expected = ("accent", "language", "sex", PITCH_GROUP, LANGUAGE_AND_SENTIMENT)
    assert find_groupings("m", table) == expected


def test_absent_values_are_in_no_group():
    table = metadata(language=["de", None, ""], sentiment=["neutral", "positive", None])
    columns = suite_columns(table, ("language", LANGUAGE_AND_SENTIMENT))
    assert columns["suite:language"].to_pylist() == [
        "language=de",
        "language=(missing)",
        "language=(missing)",
    ]
    assert columns["suite:language,sentiment"].to_pylist() == [
        "language=de,sentiment=neutral",
        "language=(missing),sentiment=positive",
        "language=(missing),sentiment=(missing)",
    ]


def test_pitch_groups_against_a_loop_over_speakers():
    random = np.random.default_rng(0)
    speakers = [f"s{n}" if n < 12 else None for n in random.integers(0, 13, 600)]
    base = dict(zip([f"s{n}" for n in range(12)], np.linspace(100, 260, 12), strict=True))
    pitch = np.array([base.get(s, 150.0) + random.normal(0, 10) for s in speakers])
    pitch[random.random(600) < 0.2] = np.nan
    pitch[random.random(600) < 0.1] = 0.0
    pitch[random.random(600) < 0.05] = 700.0
    keep = [s != "s3" or n < 100 for n, s in enumerate(speakers)]  # one with too few
    table = metadata(speaker_id=speakers, pitch_hz=pitch).filter(pa.array(keep))
    (groups,) = suite_columns(table, (PITCH_GROUP,)).values()
    expected = {}
    rows = table.to_pylist()
    for speaker in {row["speaker_id"] for row in rows}:
        values = [r["pitch_hz"] for r in rows if r["speaker_id"] == speaker]
        values = [v for v in values if 50 <= v <= 350]
        mean = np.mean(values)
        name = "low" if mean <= 145 else "medium" if mean <= 190 else "high"
        is_counted = speaker is not None and len(values) >= 25
        expected[speaker] = f"pitch_group={name if is_counted else '(missing)'}"
    assert groups.to_pylist() == [expected[row["speaker_id"]] for row in rows]
    assert len(set(expected.values())) == 4


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pitch_hz": ["120", "high"]}, "m.csv, row 2: pitch_hz 'high' is not a number"),
        (
            {"sentiment": ["neutral", None, "0.7"]},
            "m.csv, row 3: sentiment '0.7' is not one of negative, neutral, positive",
        ),
        ({"sentiment": [0.25]}, "m.csv, row 1: sentiment '0.25' is not one of"),
    ],
)
def test_columns_that_hold_something_else(columns, message):
    with pytest.raises(ManifestError, match=message):
        find_groupings("m.csv", metadata(**columns))


def test_pitch_without_speakers_is_no_group():
    (groups,) = suite_columns(metadata(pitch=["120"] * 30), (PITCH_GROUP,)).values()
    assert set(groups.to_pylist()) == {"pitch_group=(missing)"}
