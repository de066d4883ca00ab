"""What the tables call CORPUS/PART: which rows of a corpus they are, and how a training takes them.

Sizes are those that the papers print; where a paper prints none, they are counted with the mean
length of the corpus's segments. They serve the estimate of hours alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ser_model.schema import ManifestError
from ser_model.splits import Shares, assign_splits

FOUR_EMOTIONS_SHARE = {"msp-podcast": 1.0, "iemocap": 5_531 / 10_039}
"""Corpora of which the papers take anger, happiness, neutral and sadness alone (`emotion_4`), and
which share of the segments these are, as far as it is printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A part of a corpus.

    Attributes:
        column: of the manifest, that tells the part; "" for all rows.
        values: of it that belong to the part.
        shares: of train, dev and test, by speaker; None for the splits that are there.
        overrides: what a training on this part is told, as with `--set`.
        predicts_test: whether a training on it predicts its test segments itself.
        num_segments: in the manifest of the part.
        train_h: hours that a training learns from; of folds, one of them.
        dev_h: hours that it is chosen by.
        test_h: hours that are scored where the part is a test.
        num_folds: trainings for each seed.
    """

    column: str = ""
    values: tuple[str, ...] = ()
    shares: Shares | None = None
    overrides: tuple[str, ...] = ()
    predicts_test: bool = False
    num_segments: int
    train_h: float = 0.0
    dev_h: float = 0.0
    test_h: float = 0.0
    num_folds: int = 1

    def rows_of(self, manifest: pa.Table, name: str) -> pa.Table:
        """Return the rows of this part.

        Args:
            manifest: of the corpus.
            name: of the place, for the message.

        Raises:
            ManifestError: the column is absent, or there is no such row.
        """
        table = manifest
        if self.column:
            if self.column not in table.column_names:
                raise ManifestError(f"{name}: the corpus has no column {self.column!r} that tells")
            table = table.filter(pc.is_in(table[self.column], pa.array(self.values)))
        if not len(table):
            raise ManifestError(f"{name}: no segment has {self.column} {', '.join(self.values)}")
        return table if self.shares is None else assign_splits(table, self.shares)


PLACES: dict[str, Place] = {
    "msp-podcast/train": Place(
        column="split_set",
        values=("train", "dev"),
        num_segments=38_179 + 7_538,
        train_h=62.0,
        dev_h=12.2,
    ),
    "msp-podcast/dev": Place(column="split_set", values=("dev",), num_segments=7_538, test_h=12.2),
    "msp-podcast/test-1": Place(
        column="split_set", values=("test-1",), num_segments=12_902, test_h=21.0
    ),
    "msp-podcast/test-2": Place(
        column="split_set", values=("test-2",), num_segments=3_251, test_h=5.3
    ),
    "iemocap": Place(num_segments=10_039, test_h=12.0),
    "iemocap/leave-one-speaker-out": Place(
        overrides=("data.fold_by=speaker_id", "data.dev_within=session"),
        predicts_test=True,
        num_segments=10_039,
        train_h=9.6,
        dev_h=1.2,
        test_h=1.2,
        num_folds=10,
    ),
    "cmu-mosi/test": Place(column="split", values=("test",), num_segments=685, test_h=1.0),
    "ravdess/random-80-20": Place(
        column="channel",
        values=("speech",),
        overrides=("data.split=random-80-20", "data.predict_test=true"),
        predicts_test=True,
        num_segments=1_440,
        train_h=1.18,
        dev_h=0.3,
        test_h=0.3,
    ),
    "ravdess/speaker-disjoint": Place(
        column="channel",
        values=("speech",),
        shares=(50.0, 15.0, 35.0),
        overrides=("data.split=speaker-disjoint", "data.predict_test=true"),
        predicts_test=True,
        num_segments=1_440,
        train_h=0.74,
        dev_h=0.25,
        test_h=0.49,
    ),
}
"""By the name that tables use. Counts and hours of MSP-Podcast are those of release 1.7."""

TESTS = {
    "msp-podcast": "msp-podcast/test-1",
    "iemocap": "iemocap",
    "cmu-mosi": "cmu-mosi/test",
}
"""By corpus, the part that is tested with where a table speaks of its corpora as such."""
