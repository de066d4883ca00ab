"""Packs a manifest and shows how far it is."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from orchestration.progress import Progress
from pipelines.pack import SEGMENTS_PER_SHARD, PackSummary, pack, plan_shards
from ser_model import storage
from ser_model.manifest import read_manifest, segments, select_split
from ser_model.schema import MAX_SEGMENT_S

POLL_EVERY_S = 1.0


def pack_manifest(
    manifest_uri: str,
    output: str,
    *,
    split: str | None = None,
    segments_per_shard: int = SEGMENTS_PER_SHARD,
    max_segment_s: float = MAX_SEGMENT_S,
    beam_options: Sequence[str] = (),
) -> PackSummary:
    """Pack the recordings of a manifest, or of one split of it, into the folder `output`.

    Raises:
        ManifestError: the manifest cannot be used.
        RunError: the folder holds another pack.
    """
    # The truth is packed as it stands in the manifest: only who audits needs to know its scale.
    manifest = select_split(read_manifest(manifest_uri, truth_range=None), split)
    num_shards = len(plan_shards(segments(manifest), segments_per_shard))
    with (
        Progress("pack", total=num_shards, unit="shards") as progress,
        _shards_counted(output, progress),
    ):
        return pack(
            manifest,
            output,
            segments_per_shard=segments_per_shard,
            max_segment_s=max_segment_s,
            beam_options=beam_options,
        )


def rejection_reasons(output: str) -> Counter[str]:
    """Count the segments of a pack that have no audio, by the reason."""
    reasons: Counter[str] = Counter()
    for name in storage.list_names(output):
        if name.startswith("rejections-"):
            reasons.update(storage.read_table(storage.join(output, name))["reason"].to_pylist())
    return reasons


@contextmanager
def _shards_counted(output: str, progress: Progress) -> Iterator[None]:
    """Advance `progress` as shards appear; Beam itself says nothing until it is done."""
    finished = threading.Event()

    def count() -> None:
        num_seen = 0
        last = False
        while not last:
            last = finished.wait(POLL_EVERY_S)
            names = storage.list_names(output)
            num_found = sum(name.startswith("shard-") for name in names)
            progress.advance(num_found - num_seen)
            num_seen = num_found

    thread = threading.Thread(target=count, name="pack-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
