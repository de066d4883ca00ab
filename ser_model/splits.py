"""Speaker-disjoint splits: every speaker is in one of train, dev and test only."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

import pyarrow as pa

from ser_model.schema import SPLITS, ConfigError, ManifestError

Shares = tuple[float, float, float]


def parse_shares(text: str) -> Shares:
    """Read "TRAIN:DEV:TEST", shares of any sum.

    >>> parse_shares("70:15:15")
    (70.0, 15.0, 15.0)

    Raises:
        ConfigError: these are no three shares.
    """
    try:
        train, dev, test = (float(share) for share in text.split(":"))
    except ValueError:
        train = dev = test = -1.0
    if min(train, dev, test) < 0 or not 0 < train + dev + test < float("inf"):
        raise ConfigError(f"split {text!r} is not TRAIN:DEV:TEST, for example 70:15:15")
    return train, dev, test


def assign_splits(table: pa.Table, shares: Shares, *, seed: int = 0) -> pa.Table:
    """Return the manifest with a column `split`, speaker-disjoint and balanced over sex.

    Speakers come in an order that only `seed` and their ids decide. Each goes to the split that is
    furthest behind its share of the segments, counted among speakers of the same sex (those of
    unknown sex are a group of their own). An empty split is furthest behind of all, so that even
    few speakers fill each one.

    Args:
        table: a manifest with `speaker_id`, perhaps `sex`; an old `split` is replaced.
        shares: of train, dev, test; a split of share 0 stays empty.
        seed: another seed, another split.

    Raises:
        ManifestError: a row has no speaker, or there are fewer speakers than splits.
    """
    split_of = _split_of_speakers(table, shares, seed)
    splits = pa.array([split_of[speaker] for speaker in table["speaker_id"].to_pylist()])
    if "split" in table.column_names:
        return table.set_column(table.column_names.index("split"), "split", splits)
    return table.append_column("split", splits)


def _split_of_speakers(table: pa.Table, shares: Shares, seed: int) -> Mapping[str, str]:
    if "speaker_id" not in table.column_names:
        raise ManifestError("a split needs a column 'speaker_id', to keep speakers apart")
    speakers = table["speaker_id"].to_pylist()
    if None in speakers:
        row = speakers.index(None) + 1
        raise ManifestError(
            f"row {row} has no speaker_id; a split needs one, to keep speakers apart"
        )
    num_segments = Counter(speakers)
    sex_of: dict[str, str | None] = {}
    sexes = table["sex"].to_pylist() if "sex" in table.column_names else [None] * len(speakers)
    for speaker, sex in zip(speakers, sexes, strict=True):
        sex_of[speaker] = sex_of.get(speaker) or sex

    wanted = {split: share for split, share in zip(SPLITS, shares, strict=True) if share > 0}
    filled: Counter[tuple[str | None, str]] = Counter()
    split_of: dict[str, str] = {}
    for speaker in sorted(num_segments, key=lambda speaker: _rank(speaker, seed)):
        sex = sex_of[speaker]
        split = min(wanted, key=lambda split: filled[sex, split] / wanted[split])
        filled[sex, split] += num_segments[speaker]
        split_of[speaker] = split
    missing = set(wanted) - set(split_of.values())
    if missing:
        raise ManifestError(
            f"{len(split_of)} speakers cannot fill the splits {', '.join(wanted)}; "
            "give a share of 0 to those that are not needed"
        )
    return split_of


def _rank(speaker: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{speaker}".encode()).digest()
