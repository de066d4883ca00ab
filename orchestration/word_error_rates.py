"""How right the transcripts of a run are, by reference transcripts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from orchestration.committed import committed_files, read_in_order
from ser_model.metrics.word_errors import WordErrors, count_word_errors


def word_errors_of_run(run_uri: str, references: Mapping[str, str]) -> dict[str, WordErrors]:
    """Count the word errors of a complete run of transcripts, by who made them.

    Args:
        run_uri: folder of the run.
        references: what was said, by segment_id; segments without a reference are left out.

    Raises:
        RunError: the run is absent or incomplete, or holds no transcripts.
    """
    errors: dict[str, WordErrors] = defaultdict(WordErrors)
    for table in read_in_order(committed_files(run_uri, product="transcripts").predictions):
        pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
        columns = (table[name].to_pylist() for name in ("segment_id", "transcript", "transcriber"))
        for segment_id, transcript, transcriber in zip(*columns, strict=True):
            if segment_id in references:
                pairs[transcriber].append((references[segment_id], transcript))
        for transcriber, found in pairs.items():
            said, transcribed = zip(*found, strict=True)
            errors[transcriber] += count_word_errors(said, transcribed)
    return dict(sorted(errors.items()))
