"""How much of a corpus there should be, and whether it is there."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a publication counts in a corpus, or in a part of it.

    Attributes:
        description: the corpus and the part, for people: "RAVDESS, speech".
        num_segments: of the part.
        source: who counted.
        num_speakers: of the part; None where the source does not say.
        column: the manifest's column that tells the part; None: the part is all of the corpus.
        value: what stands in that column.
        optional: whether the part is obtained by itself, so that its absence is no surprise.
    """

    description: str
    num_segments: int
    source: str
    num_speakers: int | None = None
    column: str | None = None
    value: str | None = None
    optional: bool = False

    def mismatch(self, manifest: pa.Table) -> str | None:
        """Say how a manifest differs from what is expected; None where it does not."""
        part = self._part_of(manifest)
        if self.optional and not len(part):
            return None
        expected, found = f"{self.num_segments} segments", f"{len(part)}"
        as_expected = len(part) == self.num_segments
        if self.num_speakers is not None:
            num_speakers = _num_speakers(part)
            expected += f" by {self.num_speakers} speakers"
            found += f" by {num_speakers}"
            as_expected = as_expected and num_speakers == self.num_speakers
        if as_expected:
            return None
        return (
            f"expected {expected} ({self.description}; {self.source}), found {found}: "
            "files are missing or the release differs"
        )

    def _part_of(self, manifest: pa.Table) -> pa.Table:
        if self.column is None:
            return manifest
        if self.column not in manifest.column_names:
            return manifest.slice(0, 0)
        return manifest.filter(pc.field(self.column) == self.value)


def _num_speakers(part: pa.Table) -> int:
    if "speaker_id" not in part.column_names:
        return 0
    return int(pc.count_distinct(part["speaker_id"], mode="only_valid").as_py())
