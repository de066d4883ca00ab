"""Sentences that the demo's models of text never read in training.

The corpus has the same sentences in all splits, so whoever reads can know them by heart. What is
known of a sixth of them that was left out of training tells this from understanding words.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.demo.sentences import SENTIMENTS, sentences_of
from ser_model.manifest import read_manifest, relative_to, write_manifest

COLUMN = "sentence"
"""Column of the manifest that says which of the two a sentence is."""

KNOWN = "trained_on"
NEW = "held_out"

ONE_IN = 6


def held_out_sentences() -> tuple[str, ...]:
    """Return every sixth sentence of each sentiment.

    Example:
        >>> len(held_out_sentences())
        12
    """
    return tuple(
        sentence
        for sentiment in SENTIMENTS
        for sentence in sentences_of(sentiment)[ONE_IN - 1 :: ONE_IN]
    )


def hold_out_sentences(manifest_uri: str, output: str) -> dict[str, int]:
    """Write the corpus's manifest anew: train and dev without the sentences that are held out.

    Args:
        manifest_uri: of the corpus.
        output: file to write; each row says in COLUMN which of the two its sentence is.

    Returns:
        Segments that are left of each split; of test all are.
    """
    manifest = read_manifest(manifest_uri)
    is_new = pc.is_in(manifest["transcript"], pa.array(held_out_sentences()))
    manifest = manifest.append_column(COLUMN, pc.if_else(is_new, NEW, KNOWN))
    manifest = manifest.filter(pc.or_(pc.equal(manifest["split"], "test"), pc.invert(is_new)))
    write_manifest(output, relative_to(manifest, output))
    counts = pc.value_counts(manifest["split"]).to_pylist()
    return {count["values"]: count["counts"] for count in counts}
