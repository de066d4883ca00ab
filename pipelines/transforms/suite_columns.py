"""Groups of segments that a suite of tests compares, from the columns of the metadata.

They stand beside the slices that the caller asks for, in columns of their own, so that a suite
changes no other statistic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.transforms.tables import MISSING, SUITE_PREFIX, array, floats
from ser_model.manifest_checks import to_numbers
from ser_model.schema import ManifestError

PITCH_GROUP = "pitch_group"
LANGUAGE_AND_SENTIMENT = "language,sentiment"

SENTIMENTS = ("negative", "neutral", "positive")

PITCH_COLUMNS = ("pitch_hz", "pitch")
"""Where the mean F0 of a segment stands, in Hz; the first one that is there counts."""

PITCH_RANGE_HZ = (50.0, 350.0)
"""A mean F0 outside is a mistake of the pitch tracker, and counts as missing (as in ser-tests)."""

PITCH_EDGES_HZ = (145.0, 190.0)
"""Up to the first a speaker's pitch is low, up to the second medium, beyond it high."""

PITCH_GROUPS = ("low", "medium", "high")

MIN_PITCH_SEGMENTS = 25
"""Speakers with fewer segments with a pitch are in no group."""


def find_groupings(uri: str, table: pa.Table) -> tuple[str, ...]:
    """Return which groupings the metadata has columns for.

    Args:
        uri: where the table comes from, for messages.
        table: the metadata.

    Raises:
        ManifestError: a column that a grouping needs holds something else.
    """
    found = [name for name in ("accent", "language", "sex") if name in table.column_names]
    pitch = _pitch_column(table)
    if pitch is not None:
        to_numbers(uri, pitch, table.column(pitch))
        found.append(PITCH_GROUP)
    if "sentiment" in table.column_names:
        _check_sentiment(uri, table)
        if "language" in table.column_names:
            found.append(LANGUAGE_AND_SENTIMENT)
    return tuple(found)


def suite_columns(table: pa.Table, groupings: Sequence[str]) -> dict[str, pa.Array]:
    """Return a column for each grouping: the group of each segment, "sex=female".

    Args:
        table: the metadata.
        groupings: as from `find_groupings`.
    """
    return {f"{SUITE_PREFIX}{name}": _GROUPINGS[name](table) for name in groupings}


def pitch_groups(speaker_ids: pa.Array, pitch_hz: NDArray[np.float64]) -> pa.Array:
    """Return the pitch group of the speaker of each segment.

    The mean over the segments of a speaker decides. Source: ser-tests, fairness pitch.

    Args:
        speaker_ids: [num_segments] null for segments without a speaker.
        pitch_hz: [num_segments] mean F0 of each; NaN where there is none.

    Returns:
        "low", "medium", "high", or MISSING for speakers with fewer than MIN_PITCH_SEGMENTS.

    Example:
        >>> pitch = np.array([120.0] * 25 + [200.0] * 25 + [150.0])
        >>> speakers = pa.array(["a"] * 25 + ["b"] * 25 + ["c"])
        >>> pitch_groups(speakers, pitch).unique().to_pylist()
        ['low', 'high', '(missing)']
    """
    low, high = PITCH_RANGE_HZ
    encoded = speaker_ids.dictionary_encode()
    # Segments without a speaker go to a last one, who is in no group.
    nobody = len(encoded.dictionary)
    speaker = pc.fill_null(encoded.indices, nobody).to_numpy(zero_copy_only=False)
    counts = (pitch_hz >= low) & (pitch_hz <= high)
    num = np.bincount(speaker[counts], minlength=nobody + 1)
    total = np.bincount(speaker[counts], pitch_hz[counts], minlength=nobody + 1)
    group = np.digitize(total / np.maximum(num, 1), PITCH_EDGES_HZ, right=True)
    names = np.array([*PITCH_GROUPS, MISSING], dtype=object)
    group[num < MIN_PITCH_SEGMENTS] = len(PITCH_GROUPS)
    group[nobody] = len(PITCH_GROUPS)
    return pa.array(names[group[speaker]], pa.string())


def _named(table: pa.Table, column: str) -> pa.Array:
    values = array(table, column).cast(pa.string())
    values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return pc.binary_join_element_wise(column, pc.fill_null(values, MISSING), "=")


def _pitch_group(table: pa.Table) -> pa.Array:
    pitch = _pitch_column(table)
    if pitch is None or "speaker_id" not in table.column_names:
        groups = pa.repeat(MISSING, table.num_rows)
    else:
        groups = pitch_groups(array(table, "speaker_id"), floats(table, pitch))
    return pc.binary_join_element_wise(PITCH_GROUP, groups, "=")


def _language_and_sentiment(table: pa.Table) -> pa.Array:
    return pc.binary_join_element_wise(_named(table, "language"), _named(table, "sentiment"), ",")


def _pitch_column(table: pa.Table) -> str | None:
    return next((name for name in PITCH_COLUMNS if name in table.column_names), None)


def _check_sentiment(uri: str, table: pa.Table) -> None:
    values = array(table, "sentiment").cast(pa.string())
    allowed = pa.array([*SENTIMENTS, "", None], pa.string())
    bad = pc.index(pc.is_in(values, value_set=allowed), pa.scalar(False)).as_py()
    if bad >= 0:
        raise ManifestError(
            f"{uri}, row {bad + 1}: sentiment {values[bad].as_py()!r} is not one of "
            f"{', '.join(SENTIMENTS)} (or empty: unknown); name the column otherwise if it holds "
            "something else"
        )


_GROUPINGS: Mapping[str, Callable[[pa.Table], pa.Array]] = {
    "accent": partial(_named, column="accent"),
    "language": partial(_named, column="language"),
    "sex": partial(_named, column="sex"),
    PITCH_GROUP: _pitch_group,
    LANGUAGE_AND_SENTIMENT: _language_and_sentiment,
}
