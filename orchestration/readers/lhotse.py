"""Manifests of lhotse: recordings and supervisions, or cuts, as JSON lines, plain or gzipped.

Obtain them with lhotse's own recipes (https://lhotse.readthedocs.io), which name each corpus's
licence. Files have their kind in their name: corpus_recordings_dev.jsonl.gz,
corpus_supervisions_dev.jsonl.gz, corpus_cuts_dev.jsonl.gz. Source: the classes Recording,
SupervisionSegment, MonoCut and MultiCut of lhotse 1.33.

- A row is a supervision, and a recording or cut that has none. Its custom fields become columns.
- Relative paths are relative to the manifests' folder; where they were written relative to another,
  `RecordingSet.with_path_prefix` mends them.
- Serval averages channels and hears what is stored. So these are refused: a supervision of one
  channel among several, recordings of several files, of a command or with transforms, mixed cuts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from orchestration.readers.annotations import column_name, sex_of, table_of
from orchestration.readers.json_lines import Line, read_json_lines
from orchestration.readers.source import folder_of
from ser_model import storage
from ser_model.schema import ManifestError

LAYOUT = "lhotse (recordings and supervisions, or cuts, in .jsonl or .jsonl.gz)"

KINDS = ("recordings", "supervisions", "cuts")
_OWN_COLUMNS = ("text", "language", "speaker", "gender")
_FIELD_OF_ALL = {"recordings": "sources", "cuts": "type"}
_CUTS = ("MonoCut", "MultiCut")


def matches(source: str, files: Sequence[str]) -> bool:
    """Tell whether there are recordings or cuts, by name and by what their first line has."""
    folder = folder_of(source, files)
    found = _by_kind(files or [storage.name(source)])
    kind = "cuts" if found["cuts"] else "recordings"
    if not found[kind] or (kind == "recordings" and not files):
        return False
    try:
        first = next(read_json_lines(storage.join(folder, found[kind][0])), None)
    except ManifestError:
        return True  # reading it says what is wrong
    return first is None or _FIELD_OF_ALL[kind] in first.content


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a supervision.

    Raises:
        ManifestError: a line is broken, or says what Serval cannot hear.
    """
    folder = folder_of(source, files)
    found = _by_kind(files or [storage.name(source)])
    if found["cuts"] and found["recordings"]:
        raise ManifestError(
            f"{source} holds cuts and recordings; name the file of the cuts, "
            f"{found['cuts'][0]}, or keep the recordings and supervisions in a folder of their own"
        )
    uris = {kind: [storage.join(folder, name) for name in names] for kind, names in found.items()}
    if found["cuts"]:
        rows = [row for uri in uris["cuts"] for row in _rows_of_cuts(uri)]
    else:
        rows = list(_rows_of_supervisions(uris["recordings"], uris["supervisions"]))
    if not rows:
        raise ManifestError(f"{source}: {', '.join(found['cuts'] + found['recordings'])}: no line")
    return table_of(rows)


def _by_kind(files: Sequence[str]) -> dict[str, list[str]]:
    names = [file for file in files if file.endswith((".jsonl", ".jsonl.gz"))]
    return {kind: [name for name in names if kind in storage.name(name)] for kind in KINDS}


def _rows_of_supervisions(
    recordings: Sequence[str], supervisions: Sequence[str]
) -> Iterator[dict[str, object]]:
    known = _by_id(recordings)
    unsupervised = dict.fromkeys(known)
    for uri in supervisions:
        for line in read_json_lines(uri):
            recording = known.get(line.text("recording_id"))
            if recording is None:
                raise line.error(
                    f"recording {line.text('recording_id')!r} is in no recordings file"
                )
            unsupervised.pop(recording.text("id"), None)
            start_s = line.number("start")
            times = (start_s, start_s + line.number("duration"))
            yield _supervised(line, _audio_of(recording), _channels_of(recording), times)
    for name in unsupervised:
        yield {"segment_id": name, "recording": _audio_of(known[name])}


def _by_id(uris: Sequence[str]) -> dict[str, Line]:
    known: dict[str, Line] = {}
    for uri in uris:
        for line in read_json_lines(uri):
            if known.setdefault(line.text("id"), line) is not line:
                raise line.error(
                    f"recording {line.text('id')!r} is that of {known[line.text('id')].where} too"
                )
    return known


def _rows_of_cuts(uri: str) -> Iterator[dict[str, object]]:
    for cut in read_json_lines(uri):
        if cut.content.get("type") not in _CUTS or "recording" not in cut.content:
            raise cut.error(
                f"this is no {' or '.join(_CUTS)} with a recording, but mixed or padded"
            )
        recording = cut.part("recording", cut.content["recording"])
        path, channels = _audio_of(recording), _channels_of(recording)
        start_s, duration_s = cut.number("start"), cut.number("duration")
        supervisions = cut.content.get("supervisions") or []
        for content in supervisions:
            supervision = cut.part("supervision", content)
            first_s = max(supervision.number("start"), 0.0)
            last_s = min(supervision.number("start") + supervision.number("duration"), duration_s)
            times = (start_s + first_s, start_s + last_s)
            yield _supervised(supervision, path, channels, times)
        if not supervisions:
            _refuse_some_channels(cut, channels)
            yield {
                "segment_id": cut.text("id"),
                "recording": path,
                **_rounded(start_s, start_s + duration_s),
                **_custom(cut.content),
            }


def _supervised(
    line: Line, path: str, channels: Sequence[object], times: tuple[float, float]
) -> dict[str, object]:
    _refuse_some_channels(line, channels)
    own = {column_name(k): line.content[k] for k in _OWN_COLUMNS if k in line.content}
    if "gender" in own:
        own["sex"] = sex_of(own["gender"])
    return {
        "segment_id": line.text("id"),
        "recording": path,
        **_rounded(*times),
        **own,
        **_custom(line.content),
    }


def _rounded(start_s: float, end_s: float) -> dict[str, object]:
    return {"start_s": round(start_s, 6), "end_s": round(end_s, 6)}


def _custom(content: Mapping[str, Any]) -> dict[str, object]:
    """Return custom fields that are single values; alignments and arrays are no metadata."""
    custom = content.get("custom")
    fields = custom.items() if isinstance(custom, Mapping) else ()
    return {
        column_name(name): value
        for name, value in fields
        if isinstance(value, str | int | float | bool)
    }


def _audio_of(recording: Line) -> str:
    sources = recording.content.get("sources")
    if not (isinstance(sources, list) and len(sources) == 1 and isinstance(sources[0], Mapping)):
        raise recording.error("the recording is not one file; join its channels into one")
    if sources[0].get("type") not in ("file", "url") or not sources[0].get("source"):
        raise recording.error(
            f"the recording is of type {sources[0].get('type')!r}; save it as a file"
        )
    if recording.content.get("transforms"):
        raise recording.error("the recording has transforms; save it as a file with them applied")
    return str(sources[0]["source"])


def _channels_of(recording: Line) -> list[object]:
    channels = recording.content["sources"][0].get("channels", [0])
    return list(channels) if isinstance(channels, list) else [channels]


def _refuse_some_channels(line: Line, channels: Sequence[object]) -> None:
    channel = line.content.get("channel", 0)
    heard = channel if isinstance(channel, list) else [channel]
    if len(channels) > 1 and not set(channels) <= set(heard):
        raise line.error(
            f"channel {channel} is one of {len(channels)}, and Serval averages channels; save each "
            "as a file of its own"
        )
