"""Where a family of conditions breaks a model, on changes that are made up."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.transforms.break_points import (
    FROM_THE_MILDEST,
    HARMLESS,
    UNSHOWN,
    break_point_rows,
    with_break_points,
)
from pipelines.transforms.severities import families_of, severity_of
from ser_model.augment import known_names, named
from ser_model.schema import STATISTICS


def change(condition, low, high, **columns):
    row = dict.fromkeys(STATISTICS.names)
    row |= {"model_version": "m", "condition": condition, "slice_by": "condition"}
    row |= {"slice": f"condition={condition}-condition=clean", "target": "arousal"}
    row |= {"metric": "concordance_cc_change", "ci_low": low, "ci_high": high}
    row["value"] = None if low is None else (low + high) / 2
    return {**row, "num_segments": 100, "num_speakers": 10, **columns}


def break_point(*ends):
    """Return what is said of noise at 20, 10 and 0 dB, given as intervals of the changes."""
    rows = [
        change(f"noise-{db}db", low, high)
        for db, (low, high) in zip((20, 10, 0), ends, strict=True)
    ]
    (found,) = break_point_rows(rows[::-1])
    assert found["slice"] == "condition=noise-*db"
    return found.get("value"), found["reason"]


WORSE, SMALL, OPEN = (-0.3, -0.06), (-0.04, 0.01), (-0.2, 0.1)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((SMALL, SMALL, WORSE), (0.0, None)),
        ((SMALL, WORSE, WORSE), (10.0, None)),
        ((OPEN, WORSE, WORSE), (10.0, None)),
        ((WORSE, WORSE, WORSE), (20.0, FROM_THE_MILDEST)),
        ((WORSE, OPEN, WORSE), (0.0, None)),
        ((WORSE, WORSE, OPEN), (None, UNSHOWN)),
        ((SMALL, SMALL, OPEN), (None, UNSHOWN)),
        ((SMALL, SMALL, SMALL), (None, HARMLESS)),
        ((SMALL, SMALL, (None, None)), (None, UNSHOWN)),
        ((SMALL, (-0.3, -0.05), (-0.3, -0.05)), (None, UNSHOWN)),
    ],
)
def test_all_levels_from_the_break_point_on_are_shown_to_cost_too_much(ends, expected):
    assert break_point(*ends) == expected


def test_levels_are_ordered_by_how_harsh_they_are():
    rows = [change(f"gaps-{percent}pct", *WORSE) for percent in (10, 2)]
    (found,) = break_point_rows([change("gaps-1pct", *SMALL), *rows])
    assert found["value"] == 2.0


def test_a_suppressed_slice_has_no_break_point():
    rows = [
        change(f"noise-{db}db", None, None, verdict="suppressed", reason="fewer than 3 speakers")
        for db in (10, 0)
    ]
    (found,) = break_point_rows(rows)
    assert (found.get("value"), found["verdict"]) == (None, "suppressed")
    assert found["reason"] == "fewer than 3 speakers"


def test_metrics_targets_and_slices_are_apart():
    rows = []
    for db, ends in ((10, SMALL), (0, WORSE)):
        of_women = f"condition=n-{db}db-condition=clean,sex=female"
        rows += [
            change(f"n-{db}db", *ends),
            change(f"n-{db}db", *WORSE, metric="pearson_cc_change"),
            change(f"n-{db}db", *SMALL, slice_by="condition,sex", slice=of_women),
            change(f"n-{db}db", *WORSE, metric="mean_absolute_error_change"),
            change(f"n-{db}db", *WORSE, metric="concordance_cc_change_gap"),
            change(f"n-{db}db", *WORSE, metric="concordance_cc"),
        ]
    batch = pa.RecordBatch.from_pylist(rows, schema=STATISTICS)
    found = with_break_points(batch).to_pylist()
    assert found[: len(rows)] == rows
    assert [(r["metric"], r["slice_by"], r["slice"], r["value"]) for r in found[len(rows) :]] == [
        ("concordance_cc_break_point", "condition", "condition=n-*db", 0.0),
        ("pearson_cc_break_point", "condition", "condition=n-*db", 10.0),
        ("concordance_cc_break_point", "condition,sex", "condition=n-*db,sex=female", None),
    ]


@pytest.mark.parametrize(
    ("name", "family", "number"),
    [
        ("white_noise_30db", "white_noise_*db", 30.0),
        ("noise, 10 dB", "noise, * dB", 10.0),
        ("babble--5db", "babble-*db", -5.0),
        ("babble_minus_2.5db", "babble_*db", -2.5),
        ("playback-1.25x", "playback-*x", 1.25),
    ],
)
def test_names_of_any_tool_have_severities(name, family, number):
    found = severity_of(name)
    assert (found.family, found.number) == (family, number)


@pytest.mark.parametrize("name", ["clean", "mp3", "loudness-minus-36lufs", "10db", "noise-x", "v2"])
def test_other_names_have_none(name):
    assert severity_of(name) is None


def test_conditions_that_differ_in_severity_alone_are_a_family():
    """What shares its draws hears the same noise at every level: so the catalogue says it too."""
    by_draws = {}
    for condition in named(known_names()):
        by_draws.setdefault(condition.draws, []).append(condition.name)
    shared = {frozenset(names) for names in by_draws.values() if len(names) > 1}
    families = families_of(known_names())
    assert shared <= {frozenset(names) for names in families.values()}
    assert len(shared) >= 5
    assert families["white-noise-*db"][0] == "white-noise-30db"
    assert families["mp3-*kbps"] == ["mp3-128kbps", "mp3-64kbps", "mp3-48kbps", "mp3-24kbps"]
    assert families["playback-*x"] == ["playback-1.25x", "playback-1.5x"]


def test_a_break_point_is_wrongly_found_in_one_of_forty_corpora_at_most():
    """Four levels, all costing exactly what is allowed: the fixed sequence needs no correction."""
    random = np.random.default_rng(0)
    num_found = 0
    for _ in range(4000):
        shared = random.normal(0, 0.02)
        changes = -0.05 + shared + random.normal(0, 0.02, 4)
        reach = 1.959964 * np.hypot(0.02, 0.02)
        rows = [
            change(f"n-{db}db", value - reach, value + reach)
            for db, value in zip((30, 20, 10, 0), changes, strict=True)
        ]
        (found,) = break_point_rows(rows)
        num_found += found.get("value") is not None
    assert num_found / 4000 < 0.032
