"""Which models vote best together: every combination of some members, measured on a split.

The procedure of Gavali & Verma (section 6.2: "We tested all possible five model voting ensembles"),
who chose on the segments that they reported on. Beside what the best of many combinations reaches
stands here what it is worth corrected for having been chosen.

Shapes: M members, N segments, K targets, S speakers, C combinations, B replicates of the bootstrap,
R what a metric is computed of: all speakers, B replicates, and B times the speakers left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestration.ensembles.data import SearchData
from orchestration.progress import Progress
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.choosing import corrected_best
from ser_model.metrics.concordance import concordance_cc_of
from ser_model.metrics.intervals import Scale, effective_speakers, speaker_interval
from ser_model.metrics.moments import CoMoments, Floats
from ser_model.metrics.recall import Confusion, accuracy_of, unweighted_average_recall_of
from ser_model.schema import ConfigError
from ser_model.voting import MIN_MEMBERS, Vote, combine

MAX_COMBINATIONS = 10_000
"""More are refused: at some ten milliseconds each, these take minutes."""

Combination = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A metric of a combination, with its 95 % interval over speakers; NaN where there is none."""

    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How good one combination, or one member alone, is on a split.

    Attributes:
        members: their numbers.
        figures: by the name of the metric; what is chosen by comes first.
    """

    members: Combination
    figures: dict[str, Figure]

    @property
    def value(self) -> float:
        """What is chosen by."""
        return next(iter(self.figures.values())).value


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSearch:
    """What was found on a split.

    Attributes:
        split: its name.
        num_segments: that were measured on.
        num_speakers: of them.
        combinations: the best first; of equals that with fewer members, then the first.
        members: each alone, the best first.
        corrected: what the best combination is worth, corrected for having been chosen.
        corrected_member: likewise the best member.
    """

    split: str
    num_segments: int
    num_speakers: int
    combinations: tuple[Measured, ...]
    members: tuple[Measured, ...]
    corrected: float
    corrected_member: float


def list_combinations(num_members: int, sizes: Sequence[int]) -> list[Combination]:
    """Return all combinations of so many members.

    >>> list_combinations(3, [2])
    [(0, 1), (0, 2), (1, 2)]

    Raises:
        ConfigError: a size does not fit, or there are too many combinations.
    """
    for size in sizes:
        if not MIN_MEMBERS <= size <= num_members:
            raise ConfigError(
                f"--size {size}: an ensemble has {MIN_MEMBERS} members or more, of the "
                f"{num_members} that were given"
            )
    number = sum(math.comb(num_members, size) for size in set(sizes))
    if number > MAX_COMBINATIONS:
        raise ConfigError(
            f"there are {number} combinations of {', '.join(map(str, sizes))} of {num_members} "
            f"members, and at most {MAX_COMBINATIONS} are tried; name fewer runs or other sizes"
        )
    return [
        combination
        for size in sorted(set(sizes))
        for combination in itertools.combinations(range(num_members), size)
    ]


def search_split(
    data: SearchData,
    combinations: Sequence[Combination],
    vote: Vote,
    *,
    num_replicates: int = 1000,
    seed: int = 0,
) -> SplitSearch:
    """Measure every combination, and every member alone, on a split.

    Args:
        data: what the members say of the split, and the truth.
        combinations: as from `list_combinations`.
        vote: one of ser_model.voting.VOTES.
        num_replicates: B.
        seed: of the bootstrap.
    """
    weights_BS = poisson_weights(
        speaker_keys(data.speakers), seed=seed, num_replicates=num_replicates
    )
    weights_RS = np.vstack([np.ones_like(weights_BS[:1]), weights_BS, weights_BS == 0])
    alone = [(member,) for member in range(len(data.values))]
    with Progress(f"search {data.split}", total=len(combinations), unit="combinations") as progress:
        together, corrected = _measure(data, combinations, vote, weights_RS, progress)
    singles, corrected_member = _measure(data, alone, vote, weights_RS, None)
    return SplitSearch(
        split=data.split,
        num_segments=data.num_segments,
        num_speakers=len(data.speakers),
        combinations=_best_first(together),
        members=_best_first(singles),
        corrected=corrected,
        corrected_member=corrected_member,
    )


def _measure(
    data: SearchData,
    combinations: Sequence[Combination],
    vote: Vote,
    weights_RS: NDArray[np.uint8],
    progress: Progress | None,
) -> tuple[list[Measured], float]:
    """Return the figures of each combination, and the corrected value of the best."""
    num_replicates = len(weights_RS) // 2
    num_segments_R = weights_RS.astype(np.float64) @ np.bincount(data.speaker)
    speakers = effective_speakers(num_segments_R[: num_replicates + 1], len(data.speakers))
    scale = Scale.CORRELATION if data.choices is None else Scale.SHARE
    in_bag_CB = np.empty((len(combinations), num_replicates))
    out_of_bag_CB = np.empty_like(in_bag_CB)
    measured = []
    for number, combination in enumerate(combinations):
        metrics = dict(_metrics(data, combination, vote, weights_RS))
        chosen_by_R = next(iter(metrics.values()))
        in_bag_CB[number] = chosen_by_R[1 : num_replicates + 1]
        out_of_bag_CB[number] = chosen_by_R[num_replicates + 1 :]
        figures = {
            name: _figure(values_R[: num_replicates + 1], speakers, scale)
            for name, values_R in metrics.items()
        }
        measured.append(Measured(members=combination, figures=figures))
        if progress is not None:
            progress.advance()
    return measured, corrected_best(in_bag_CB, out_of_bag_CB)


def _figure(values_B1: Floats, num_speakers: float, scale: Scale) -> Figure:
    low, high = speaker_interval(values_B1, num_speakers, scale)
    return Figure(value=float(values_B1[0]), ci_low=low, ci_high=high)


def _best_first(measured: Sequence[Measured]) -> tuple[Measured, ...]:
    return tuple(
        sorted(
            measured,
            key=lambda m: (-m.value if math.isfinite(m.value) else math.inf, len(m.members)),
        )
    )


def _metrics(
    data: SearchData, combination: Combination, vote: Vote, weights_RS: NDArray[np.uint8]
) -> Iterator[tuple[str, Floats]]:
    """Yield the name and the values_R of each metric; what is chosen by comes first."""
    members = list(combination)
    if data.choices is not None:
        confusion = _confusion(data, _chosen(data, members, vote), weights_RS)
        yield "unweighted_average_recall", unweighted_average_recall_of(confusion)
        yield "accuracy", accuracy_of(confusion)
        return
    values_NK = data.values[members[0]]
    if len(members) > 1:
        values_NK = combine(vote, data.values[members])
    by_dimension = {
        name: concordance_cc_of(
            CoMoments.from_groups(
                data.truth[:, number], values_NK[:, number], data.speaker, len(data.speakers)
            ).weighted_totals(weights_RS)
        )
        for number, name in enumerate(data.targets)
    }
    yield "concordance_cc", np.mean(list(by_dimension.values()), axis=0)
    yield from by_dimension.items()


def _chosen(data: SearchData, members: list[int], vote: Vote) -> NDArray[np.intp]:
    """Return [N] the emotion that the members choose together, or one alone."""
    assert data.choices is not None, "only emotions are chosen"
    if len(members) == 1:
        return np.asarray(data.choices[members[0]])
    scores_NK = combine(vote, data.values[members], data.choices[members])
    return np.asarray(scores_NK.argmax(axis=1), dtype=np.intp)


def _confusion(
    data: SearchData, chosen_N: NDArray[np.intp], weights_RS: NDArray[np.uint8]
) -> Confusion:
    """Return the confusion [R, K, K]: the speakers' counts, weighted."""
    num_targets = len(data.targets)
    cells = (data.speaker * num_targets + data.truth) * num_targets + chosen_N
    counts_SKK = np.bincount(cells, minlength=len(data.speakers) * num_targets**2)
    counts_RKK = weights_RS.astype(np.float64) @ counts_SKK.reshape(len(data.speakers), -1)
    return Confusion(classes=data.targets, counts=counts_RKK.reshape(-1, num_targets, num_targets))
