"""Recordings with speaker turns in RTTM files: one segment a turn; turns may overlap.

Source: NIST, The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan, appendix A.
Of its lines only those of type SPEAKER are turns; others describe words, noises and speakers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import pyarrow as pa

from orchestration.readers.source import AUDIO_EXTENSIONS, folder_of, read_lines, with_extension
from ser_model import storage
from ser_model.schema import ManifestError

LAYOUT = "audio files with speaker turns in .rttm files"


def matches(source: str, files: Sequence[str]) -> bool:
    """Tell whether there are speaker turns."""
    return bool(with_extension([source, *files], ".rttm"))


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a turn, with `speaker_id`.

    Raises:
        ManifestError: a line is broken, or names a recording that is not there exactly once.
    """
    folder = folder_of(source, files)
    turn_files = with_extension(files, ".rttm") if files else [storage.name(source)]
    recordings: dict[str, list[str]] = {}
    for file in with_extension(files or storage.list_files(folder), *AUDIO_EXTENSIONS):
        recordings.setdefault(PurePosixPath(file).stem, []).append(file)
    rows = [
        row
        for turn_file in turn_files
        for row in _turns(storage.join(folder, turn_file), recordings)
    ]
    if not rows:
        raise ManifestError(
            f"{source}: {', '.join(turn_files) or 'no .rttm file'}: no speaker turn"
        )
    return pa.Table.from_pylist(rows)


def _turns(uri: str, recordings: dict[str, list[str]]) -> Iterator[dict[str, object]]:
    for number, line in enumerate(read_lines(uri), start=1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            recording_name, speaker_id = fields[1], fields[7]
            start_s, duration_s = float(fields[3]), float(fields[4])
        except (IndexError, ValueError) as error:
            raise ManifestError(f"{uri}, line {number} is no speaker turn: {line!r}") from error
        found = recordings.get(recording_name, [])
        if len(found) != 1:
            raise ManifestError(
                f"{uri}, line {number}: recording {recording_name!r} should be one audio file "
                f"beside it, and is {', '.join(found) or 'none'}"
            )
        end_s = round(start_s + duration_s, 6)  # as exact as the text, not as its binary sum
        times = f"{round(start_s * 1000):08d}_{round(end_s * 1000):08d}"
        yield {
            "segment_id": f"{recording_name}_{speaker_id}_{times}",
            "recording": found[0],
            "start_s": start_s,
            "end_s": end_s,
            "speaker_id": speaker_id,
        }
