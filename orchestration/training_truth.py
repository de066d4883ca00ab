"""The truth of a manifest's rows: which have it, which targets it has, and as tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from ser_model.models.base import Task
from ser_model.schema import DIMENSIONS, ManifestError


def check_columns(table: pa.Table, task: Task) -> None:
    """Refuse a manifest without the truth for a task.

    Raises:
        ManifestError: a column is missing.
    """
    needed = DIMENSIONS if task == "dimensions" else ("emotion",)
    missing = [column for column in needed if column not in table.column_names]
    if missing:
        other = "emotion" if task == "dimensions" else "dimensions"
        raise ManifestError(
            f"the manifest has no column {', '.join(missing)}, the truth for --target {task}; "
            f"is --target {other} meant?"
        )


def has_truth(row: Mapping[str, Any], task: Task) -> bool:
    """Tell whether a row says all that a task learns.

    >>> has_truth({"emotion": ""}, "emotion")
    False
    """
    if task == "emotion":
        return bool(row["emotion"])
    return all(row[name] is not None and isfinite(row[name]) for name in DIMENSIONS)


def truth_tensor(row: Mapping[str, Any], task: Task, targets: Sequence[str]) -> Tensor:
    """Return the truth of a row: [D] its dimensions, or [] the index of its emotion.

    >>> truth_tensor({"emotion": "sad"}, "emotion", ("happy", "sad"))
    tensor(1)
    """
    if task == "emotion":
        return torch.tensor(targets.index(row["emotion"]))
    return torch.tensor([row[name] for name in targets], dtype=torch.float32)


def categories_of(rated: Sequence[Mapping[str, Any]], task: Task) -> tuple[str, ...]:
    """Return what a model of all these rows tells apart, in whatever splits they are.

    Args:
        rated: rows that have truth.
        task: dimensions or emotion.

    Raises:
        ManifestError: there are fewer than two emotions.
    """
    if task == "dimensions":
        return DIMENSIONS
    found = sorted({row["emotion"] for row in rated})
    if len(found) < 2:
        raise ManifestError(f"there are {len(found)} emotions to tell apart: {', '.join(found)}")
    return tuple(found)


def targets_of(
    rated: Sequence[Mapping[str, Any]], task: Task, used: Sequence[str]
) -> tuple[str, ...]:
    """Return what the scores of a model mean that is trained on the split train.

    Args:
        rated: rows that have truth, with splits.
        task: dimensions or emotion.
        used: the splits that the training reads.

    Raises:
        ManifestError: there is too little in train or dev, or an emotion that train has not.
    """
    splits: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rated:
        splits[row["split"]].append(row)
    for split in ("train", "dev"):
        if len(splits[split]) < 2:
            raise ManifestError(
                f"the split {split} has {len(splits[split])} segments with truth; training needs "
                "two or more in train and in dev"
            )
    if task == "dimensions":
        return DIMENSIONS
    in_split = {split: {row["emotion"] for row in splits[split]} for split in used}
    if len(in_split["train"]) < 2:
        raise ManifestError(f"the split train has the emotion {min(in_split['train'])} alone")
    for split in used:
        new = sorted(in_split[split] - in_split["train"])
        if new:
            raise ManifestError(
                f"the split {split} has emotions that train has not: {', '.join(new)}"
            )
    return tuple(sorted(in_split["train"]))
