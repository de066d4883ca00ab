"""Makes the demo's corpus: synthetic speech in longer recordings, with truth and one planted flaw.

A recording is one speaker's episode. Every random number comes from the seed and the speaker's
index, so the same seed gives the same bytes, in whatever order the speakers are recorded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa

from orchestration.demo import rule
from orchestration.demo.corpus_readme import corpus_readme
from orchestration.demo.episodes import Row, record_episode
from orchestration.demo.speakers import Speaker, make_speakers
from orchestration.demo.telephone import Telephone
from ser_model import storage
from ser_model.audio import encode_flac
from ser_model.manifest import write_manifest

MANIFEST = "manifest.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """What decides every byte of a corpus.

    Attributes:
        seed: of all random numbers.
        num_speakers: of each of the two sexes and three accents, by split.
        num_segments: of each speaker.
        telephone: the planted unfairness.
    """

    seed: int
    num_speakers: Mapping[str, int]
    num_segments: int
    telephone: Telephone = field(default_factory=Telephone)

    @property
    def speakers(self) -> list[Speaker]:
        """All speakers, in the order of the manifest."""
        return make_speakers(self.num_speakers, self.seed)


def full_corpus(seed: int) -> CorpusConfig:
    """Return the configuration of the demo.

    Example:
        >>> config = full_corpus(seed=0)
        >>> len(config.speakers), len(config.speakers) * config.num_segments
        (60, 1500)
    """
    return CorpusConfig(seed=seed, num_speakers={"train": 5, "dev": 1, "test": 4}, num_segments=25)


def quick_corpus(seed: int) -> CorpusConfig:
    """Return the configuration of ``serval demo --quick``: 30 speakers, 180 segments."""
    return CorpusConfig(seed=seed, num_speakers={"train": 2, "dev": 1, "test": 2}, num_segments=6)


def make_corpus(
    folder: str, config: CorpusConfig, *, when_recorded: Callable[[int], object] = lambda _: None
) -> dict[str, object]:
    """Write the recordings, manifest.csv, README.md and, last, corpus.json into a folder.

    Args:
        folder: path or URI.
        config: what to make.
        when_recorded: called with the number of segments of each finished recording.

    Returns:
        What corpus.json holds: counts, configuration, and what was planted.

    Raises:
        ConfigError: espeak-ng is not installed.
    """
    rater_biases = rule.draw_rater_biases(np.random.default_rng([config.seed, 2]))

    def record(index: int, speaker: Speaker) -> list[Row]:
        episode, rows = record_episode(
            speaker,
            num_segments=config.num_segments,
            rater_biases=rater_biases,
            telephone=config.telephone,
            rng=np.random.default_rng([config.seed, 1, index]),
        )
        recording = f"recordings/{speaker.speaker_id}.flac"
        storage.write_atomic(storage.join(folder, recording), encode_flac(episode))
        return [{"recording": recording, **row} for row in rows]

    speakers = config.speakers
    all_rows: list[Row] = []
    # Threads suffice: espeak-ng, numpy and soxr compute outside of Python's lock.
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as pool:
        for rows in pool.map(record, range(len(speakers)), speakers):
            all_rows += rows
            when_recorded(len(rows))
    table = pa.Table.from_pylist(all_rows)
    facts = _facts(config, num_segments=len(table))
    write_manifest(storage.join(folder, MANIFEST), _id_first(table))
    storage.write_atomic(storage.join(folder, "README.md"), corpus_readme(facts).encode())
    storage.write_json(storage.join(folder, "corpus.json"), facts)
    return facts


def _id_first(table: pa.Table) -> pa.Table:
    first = ["segment_id", "recording", "start_s", "end_s"]
    return table.select([*first, *(name for name in table.column_names if name not in first)])


def _facts(config: CorpusConfig, num_segments: int) -> dict[str, object]:
    accent = config.telephone.accent
    return {
        "synthetic": True,
        "what": "espeak-ng speech with simulated speakers, emotions and raters",
        "num_speakers": len(config.speakers),
        "num_recordings": len(config.speakers),
        "num_segments": num_segments,
        "seed": config.seed,
        "num_speakers_of_each_accent_and_sex": dict(config.num_speakers),
        "planted": {
            "what": "one accent is heard through a band-limited, noisy telephone line with "
            "automatic gain control",
            "expect": "concordance_cc is lower for this accent than for the rest",
            "slice_by": "accent",
            "slice": f"accent={accent}",
            "gap": f"accent={accent}-rest",
            "telephone": asdict(config.telephone),
        },
    }
