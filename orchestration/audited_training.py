"""Reads from the manifest of a training whom the audited models know."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.compute as pc

from orchestration.found_runs import file_sha256
from ser_model.manifest import read_metadata
from ser_model.schema import ManifestError, RunError

TRAIN = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedTraining:
    """What is known of a training.

    Attributes:
        uri: of its manifest.
        sha256: of the manifest's bytes.
        speaker_ids: of all rows, or of those whose `split` is train.
    """

    uri: str
    sha256: str
    speaker_ids: frozenset[str]

    def about(self) -> dict[str, object]:
        """Return what stands of it in audit.json."""
        return {"uri": self.uri, "sha256": self.sha256, "num_speakers": len(self.speaker_ids)}


def read_training(uri: str) -> AuditedTraining:
    """Read the manifest of a training.

    Raises:
        ManifestError: it cannot be read, has no speakers, or none in the split train.
    """
    try:
        sha256 = file_sha256(uri)
    except RunError as error:
        raise ManifestError(str(error)) from error
    table = read_metadata(uri, truth_range=None)
    if "speaker_id" not in table.column_names:
        raise ManifestError(
            f"{uri} has no column 'speaker_id' (it has {', '.join(table.column_names)}): "
            "--training looks for the speakers there"
        )
    if "split" in table.column_names:
        table = table.filter(pc.equal(table["split"], TRAIN))
    speakers = frozenset(pc.unique(table["speaker_id"].drop_null()).to_pylist()) - {""}
    if not speakers:
        raise ManifestError(f"{uri} names no speaker of the split {TRAIN!r}, or none at all")
    return AuditedTraining(uri=uri, sha256=sha256, speaker_ids=speakers)
