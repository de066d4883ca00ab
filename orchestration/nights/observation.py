"""What later nights need to know of this one: the file observation.json.

Its size depends neither on the segments nor, from MAX_SPEAKERS on, on the speakers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ser_model import storage
from ser_model.metrics.bootstrap import UInt64s
from ser_model.metrics.exchanged_nights import NUM_GROUPS
from ser_model.schema import RunError

logger = logging.getLogger(__name__)

OBSERVATION_FILE = "observation.json"
OBSERVATION_VERSION = 1
"""Raised when the file, its bins or the groups of speakers change: then nights do not compare."""

MAX_SPEAKERS = 1 << 16
"""Of more speakers those with the smallest keys are kept, which are drawn as if by lot, and from
every night the same ones."""

_MAX_BYTES = 1 << 25

Histogram: TypeAlias = Mapping[str, NDArray[np.int64]]
"""Bin -> [NUM_GROUPS] how many segments of each group of speakers are in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One run and its metadata, condition clean.

    Attributes:
        weights_sha256: of the model.
        histograms: target -> its predictions, of dimensions in ten bins "0" to "9", of emotion by
            its name; a target without predictions is not there.
        outcomes: segments "scored" and "rejected".
        speakers: sorted keys (64-bit hashes of the names), MAX_SPEAKERS at most.
        languages: segments of each.
        missing: segments that lack a value, of each column that the metadata have.
        num_unmatched: segments of the run that the metadata do not have.
    """

    weights_sha256: str
    histograms: Mapping[str, Histogram]
    outcomes: Histogram
    speakers: UInt64s
    languages: Mapping[str, int]
    missing: Mapping[str, int]
    num_unmatched: int

    @property
    def num_segments(self) -> int:
        """Segments of the run, scored or rejected."""
        return int(sum(counts.sum() for counts in self.outcomes.values()))

    @property
    def num_matched(self) -> int:
        """Segments that the metadata have."""
        return self.num_segments - self.num_unmatched

    def counts(self, histogram: Histogram, bins: tuple[str, ...]) -> NDArray[np.int64]:
        """Return [NUM_GROUPS, num_bins] one of its histograms, 0 in bins that it does not have."""
        nothing = np.zeros(NUM_GROUPS, dtype=np.int64)
        return np.stack([histogram.get(name, nothing) for name in bins], axis=1)


def write_observation(folder: str, observation: Observation) -> None:
    """Write observation.json into a folder."""
    content = {
        "observation_version": OBSERVATION_VERSION,
        "weights_sha256": observation.weights_sha256,
        "histograms": {
            target: _to_lists(histogram) for target, histogram in observation.histograms.items()
        },
        "outcomes": _to_lists(observation.outcomes),
        "speakers": observation.speakers.tolist(),
        "languages": dict(observation.languages),
        "missing": dict(observation.missing),
        "num_unmatched": observation.num_unmatched,
    }
    storage.write_json(storage.join(folder, OBSERVATION_FILE), content)


def read_observation(folder: str) -> Observation | None:
    """Read observation.json from a folder; None where there is none that tonight compares with.

    Raises:
        RunError: the file is damaged.
    """
    uri = storage.join(folder, OBSERVATION_FILE)
    try:
        content = json.loads(storage.read_bytes(uri, max_bytes=_MAX_BYTES))
        if content["observation_version"] != OBSERVATION_VERSION:
            logger.warning("%s is of another version of Serval: it is not compared with", uri)
            return None
        return Observation(
            weights_sha256=str(content["weights_sha256"]),
            histograms={
                target: _from_lists(histogram)
                for target, histogram in content["histograms"].items()
            },
            outcomes=_from_lists(content["outcomes"]),
            speakers=np.array(content["speakers"], dtype=np.uint64),
            languages={str(name): int(count) for name, count in content["languages"].items()},
            missing={str(name): int(count) for name, count in content["missing"].items()},
            num_unmatched=int(content["num_unmatched"]),
        )
    except FileNotFoundError:
        return None
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise RunError(
            f"{uri} is damaged ({error!r}); delete it, and nothing is compared with that night"
        ) from error


def _to_lists(histogram: Histogram) -> dict[str, list[int]]:
    return {name: counts.tolist() for name, counts in histogram.items()}


def _from_lists(content: Mapping[str, Any]) -> Histogram:
    histogram = {name: np.array(counts, dtype=np.int64) for name, counts in content.items()}
    for name, counts in histogram.items():
        if counts.shape != (NUM_GROUPS,) or (counts < 0).any():
            raise ValueError(f"bin {name!r} does not hold {NUM_GROUPS} counts")
    return histogram
