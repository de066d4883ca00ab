"""Splits, folds and fractions of a manifest; ids and a seed decide, never the order of rows.

Splits are speaker-disjoint: every speaker is in one of train, dev and test only. The random split
by segments is there to repeat what others did.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    return set_splits(table, [split_of[speaker] for speaker in table["speaker_id"].to_pylist()])


def set_splits(table: pa.Table, splits: Sequence[str | None]) -> pa.Table:
    """Return the manifest with this column `split`; an old one is replaced. None: not used."""
    column = pa.array(splits, pa.string())
    if "split" in table.column_names:
        return table.set_column(table.column_names.index("split"), "split", column)
    return table.append_column("split", column)


def assign_random_fifth(table: pa.Table, *, seed: int = 0) -> pa.Table:
    """Return the manifest with a random fifth of its segments as dev, and the rest as train.

    Speakers are in both: what a model says of speakers that it knows is no measure for others.
    Gavali (2022) splits RAVDESS 80:20 by files and evaluates on the fifth.
    """
    ids = table["segment_id"].to_pylist()
    held_out = set(sorted(ids, key=lambda segment_id: _rank(segment_id, seed))[: len(ids) // 5])
    return set_splits(table, ["dev" if segment_id in held_out else "train" for segment_id in ids])


def have_overlap(table: pa.Table) -> bool | None:
    """Tell whether a speaker is in several splits; None where the speakers are not known."""
    if "speaker_id" not in table.column_names:
        return None
    pairs = zip(table["speaker_id"].to_pylist(), table["split"].to_pylist(), strict=True)
    used = {pair for pair in pairs if None not in pair}
    return len({speaker for speaker, _ in used}) < len(used)


def keep_fraction(table: pa.Table, fraction: float, *, seed: int = 0) -> pa.Table:
    """Return the manifest with only a part of its train split; the rest gets no split.

    About the same part of every speaker's segments is kept. A segment has a fixed place from 0 to
    1, and is kept where that is below `fraction`: a smaller part is contained in a larger one.

    Args:
        table: with `split`; without `speaker_id` all segments count as one speaker's.
        fraction: above 0, to 1.
        seed: another seed, another part.
    """
    if fraction == 1.0:
        return table
    ids, splits = table["segment_id"].to_pylist(), table["split"].to_pylist()
    known = "speaker_id" in table.column_names
    speakers = table["speaker_id"].to_pylist() if known else [None] * len(ids)
    train_ids = defaultdict(list)
    for segment_id, split, speaker in zip(ids, splits, speakers, strict=True):
        if split == "train":
            train_ids[speaker].append(segment_id)
    kept = set()
    for speaker, of_speaker in train_ids.items():
        # Each speaker begins elsewhere, or all who have one segment would keep it or lose it.
        start = int.from_bytes(_rank(f"speaker {speaker}", seed)[:8], "big") / 2**64
        ordered = sorted(of_speaker, key=lambda segment_id: _rank(segment_id, seed))
        kept |= {
            segment_id
            for place, segment_id in enumerate(ordered)
            if (place + start) / len(ordered) < fraction
        }
    return set_splits(
        table,
        [
            None if split == "train" and segment_id not in kept else split
            for segment_id, split in zip(ids, splits, strict=True)
        ],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One round of a cross-validation.

    Attributes:
        name: of its folder.
        held_out: values that are in its test split.
        splits: of the manifest's rows.
    """

    name: str
    held_out: tuple[str, ...]
    splits: tuple[str, ...]


def make_folds(
    table: pa.Table,
    column: str,
    *,
    num_folds: int | None = None,
    dev_within: str | None = None,
    seed: int = 0,
) -> list[Fold]:
    """Hold out the values of a column in turn, as test.

    Args:
        table: a manifest.
        column: speaker_id, session or any other; every row has a value.
        num_folds: groups of values, of about the same number of segments; None: a fold a value.
        dev_within: column; dev of a fold are the other rows with its test rows' values there. None:
            dev is the test of the next fold.
        seed: decides the groups.

    Raises:
        ManifestError: a column is absent or has a gap, there are too few values, or a speaker
            would be in several splits.
    """
    values = _values(table, column)
    groups = _groups(Counter(values), num_folds, seed)
    if len(groups) < 3:
        raise ManifestError(f"{column!r} gives {len(groups)} folds; train, dev, test need three")
    around = _values(table, dev_within) if dev_within else None
    folds = []
    for number, group in enumerate(groups):
        following = groups[(number + 1) % len(groups)]
        near = (
            set()
            if around is None
            else {place for place, value in zip(around, values, strict=True) if value in group}
        )
        splits = tuple(
            "test"
            if value in group
            else "dev"
            if (value in following if around is None else around[row] in near)
            else "train"
            for row, value in enumerate(values)
        )
        if have_overlap(set_splits(table, splits)):
            raise ManifestError(
                f"folds by {column!r} would put a speaker into several splits; fold by speaker_id"
            )
        name = f"fold-{number + 1:02d}"
        folds.append(Fold(name=name, held_out=tuple(sorted(group)), splits=splits))
    return folds


def _values(table: pa.Table, column: str) -> list[str]:
    if column not in table.column_names:
        raise ManifestError(
            f"folds need the column {column!r}; there are: {', '.join(table.column_names)}"
        )
    values = table[column].to_pylist()
    if None in values:
        raise ManifestError(f"row {values.index(None) + 1} has no {column}, which folds need")
    return [str(value) for value in values]


def _groups(sizes: Counter[str], num_folds: int | None, seed: int) -> list[set[str]]:
    """Return the values one by one in order, or in groups: the largest values first."""
    if num_folds is None:
        return [{value} for value in sorted(sizes)]
    groups: list[set[str]] = [set() for _ in range(min(num_folds, len(sizes)))]
    filled = [0] * len(groups)
    for value in sorted(sizes, key=lambda value: (-sizes[value], _rank(value, seed))):
        emptiest = filled.index(min(filled))
        groups[emptiest].add(value)
        filled[emptiest] += sizes[value]
    return groups


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
