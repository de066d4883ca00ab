"""Which rows of a manifest a training uses, and in which split each of them is."""

from __future__ import annotations

import logging
from typing import Any

import pyarrow as pa

from ser_model.schema import ManifestError
from ser_model.splits import (
    Fold,
    assign_random_fifth,
    assign_splits,
    have_overlap,
    keep_fraction,
    set_splits,
)
from ser_model.training.settings import DataConfig

logger = logging.getLogger(__name__)

DEFAULT_SHARES = (70.0, 15.0, 15.0)


def with_splits(table: pa.Table, config: DataConfig, fold: Fold | None) -> pa.Table:
    """Return the manifest with the splits that a training asks for.

    Args:
        table: a manifest.
        config: how a recipe splits it.
        fold: of a cross-validation, whose splits it takes instead.

    Raises:
        ManifestError: a speaker is in two splits and that was not asked for by name, or there is
            nothing to make splits of.
    """
    split = _split(table, config) if fold is None else set_splits(table, fold.splits)
    return keep_fraction(split, config.fraction, seed=config.seed)


def used_splits(config: DataConfig) -> tuple[str, ...]:
    """Return the splits that a training reads."""
    with_test = config.predict_test or config.fold_by is not None
    return ("train", "dev", "test") if with_test else ("train", "dev")


def used_rows(table: pa.Table, config: DataConfig) -> list[dict[str, Any]]:
    """Return the rows of a manifest with splits that a training reads."""
    used = used_splits(config)
    return [row for row in table.to_pylist() if row["split"] in used]


def _split(table: pa.Table, config: DataConfig) -> pa.Table:
    if config.split == "random-80-20":
        logger.warning("data.split random-80-20: the same speakers are in train and in dev")
        return assign_random_fifth(table, seed=config.seed)
    if config.split == "as-given":
        if "split" not in table.column_names:
            raise ManifestError("data.split as-given needs a column 'split'")
        if have_overlap(table):
            logger.warning("data.split as-given: a speaker is in several splits")
        return table
    if "split" not in table.column_names:
        shares = ":".join(f"{share:g}" for share in DEFAULT_SHARES)
        logger.info("no column 'split': speakers are split %s", shares)
        return assign_splits(table, DEFAULT_SHARES, seed=config.seed)
    if "speaker_id" not in table.column_names:
        logger.warning("no column 'speaker_id': speakers may be in several splits")
        return table
    split_of: dict[str, str] = {}
    pairs = zip(table["speaker_id"].to_pylist(), table["split"].to_pylist(), strict=True)
    for speaker, split in pairs:
        if speaker is None or split is None:
            continue
        if split_of.setdefault(speaker, split) != split:
            raise ManifestError(
                f"speaker {speaker!r} is in the splits {split_of[speaker]} and {split}: what a "
                "model says of a speaker that it knows is no measure; split by speaker "
                "(serval manifest --split 70:15:15), or say --set data.split=as-given"
            )
    return table
