"""WebDataset tar files: audio members are segments, found by headers and read by offsets.

Nothing is ever extracted, so a member's name is only text: it can name no file outside the archive.
See https://github.com/webdataset/webdataset for the naming rule.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO, Self

import pyarrow as pa

from orchestration.shard_plan import SegmentAudio, ShardPlan, Waveform, refuse_duplicates
from ser_model import storage
from ser_model.audio import decode_audio
from ser_model.schema import MAX_SEGMENT_S, ManifestError, Reason, SegmentError, Stage

AUDIO_EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3")

MAX_MEMBER_BYTES = 1 << 28
"""Largest audio member that is read: 256 MiB, over two hours of 16 kHz WAV."""

TAR_TABLE = pa.schema(
    [("segment_id", pa.string()), ("offset", pa.int64()), ("num_bytes", pa.int64())]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TarShard:
    """Some members of a tar file.

    Attributes:
        uri: the tar file.
        members: rows of TAR_TABLE.
        max_segment_s: longer segments are rejected.
    """

    uri: str
    members: tuple[Mapping[str, str | int], ...]
    max_segment_s: float = MAX_SEGMENT_S

    @property
    def segment_ids(self) -> list[str]:
        """The segments, in the order of the archive."""
        return [str(member["segment_id"]) for member in self.members]

    def read(self) -> Iterator[SegmentAudio]:
        """Read member after member."""
        with storage.open_binary(self.uri) as file:
            for member in self.members:
                yield str(member["segment_id"]), self._read_member(file, member)

    def only(self, segment_ids: Collection[str]) -> Self:
        """Return the part of the shard with these segments alone."""
        wanted = frozenset(segment_ids)
        return replace(self, members=tuple(m for m in self.members if m["segment_id"] in wanted))

    def parts(self, num_segments: int) -> Iterator[tuple[Self, int]]:
        """Cut between members."""
        for first in range(0, len(self.members), num_segments):
            members = self.members[first : first + num_segments]
            yield replace(self, members=members), len(members)

    def _read_member(
        self, file: BinaryIO, member: Mapping[str, str | int]
    ) -> Waveform | SegmentError:
        num_bytes = int(member["num_bytes"])
        if num_bytes > MAX_MEMBER_BYTES:
            detail = f"{num_bytes} bytes; at most {MAX_MEMBER_BYTES} are read"
            return SegmentError(Stage.READ, Reason.RECORDING_UNREADABLE, detail)
        file.seek(int(member["offset"]))
        data = file.read(num_bytes)
        if len(data) < num_bytes:
            detail = f"the archive ends after {len(data)} of {num_bytes} bytes"
            return SegmentError(Stage.READ, Reason.TRUNCATED, detail)
        try:
            return decode_audio(data, max_segment_s=self.max_segment_s)
        except SegmentError as error:
            return error


def read_tar_table(uri: str) -> pa.Table:
    """List the audio members of a tar file: one pass over its headers.

    A member's segment_id is its path up to the first dot of its file name ("a/b.c.wav" is "a/b").

    Raises:
        ManifestError: the file is missing, damaged, compressed, or holds no audio.
    """
    try:
        with storage.open_binary(uri) as file:
            rows = _list_members(uri, file)
    except FileNotFoundError as error:
        raise ManifestError(f"{uri}: there is no such file") from error
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ManifestError(f"{uri}: no readable, uncompressed tar file ({error})") from error
    if not rows:
        extensions = " ".join(AUDIO_EXTENSIONS)
        raise ManifestError(f"{uri}: holds no audio member ({extensions})")
    return pa.Table.from_pylist(rows, schema=TAR_TABLE)


def plan_tar(source: str, segments_per_shard: int, max_segment_s: float) -> ShardPlan:
    """Plan the scoring of a tar file, from its headers."""
    rows = read_tar_table(source)
    refuse_duplicates(source, rows)
    return ShardPlan(
        rows=rows,
        first_rows=[*range(0, rows.num_rows, segments_per_shard), rows.num_rows],
        make_shard=lambda inside: TarShard(
            uri=source, members=tuple(inside.to_pylist()), max_segment_s=max_segment_s
        ),
        max_segment_s=max_segment_s,
    )


def _list_members(uri: str, file: BinaryIO) -> list[dict[str, str | int]]:
    rows: list[dict[str, str | int]] = []
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            # What is no plain file (a link, a device, a sparse file) has no bytes of its own here.
            if member.isreg() and not member.issparse() and _is_audio(member.name):
                rows.append(
                    {
                        "segment_id": _key(member.name),
                        "offset": member.offset_data,
                        "num_bytes": member.size,
                    }
                )
            # Or tarfile would keep every header in memory; its stub does not know the attribute.
            archive.members.clear()  # type: ignore[attr-defined]
        # tarfile takes a damaged header for the end of the archive: make sure that it is the end.
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise ManifestError(f"{uri}: damaged behind its first {archive.offset} bytes")
    return rows


def _is_audio(name: str) -> bool:
    return name.lower().endswith(AUDIO_EXTENSIONS)


def _key(name: str) -> str:
    """Return the name up to the first dot of its last part.

    >>> _key("speakers.1/anna.take2.wav")
    'speakers.1/anna'
    """
    folder, slash, file_name = name.rpartition("/")
    return f"{folder}{slash}{file_name.partition('.')[0]}"
