"""The votes of an ensemble: from what its members say of segments to what it says itself.

- hard: each member votes for one category, and most votes win. Among categories with equally many
  the one with the highest mean probability of all members wins, and among those the first in
  alphabetical order. An odd number of voters does not spare this: of eight categories, five voters
  may name three by 2, 2 and 1. (Gavali & Verma, 3.5, take the mode, and do not say what of ties.)
- soft: the mean of the members' probabilities; the highest wins, of equals the first likewise.
- mean: the mean of the members' dimensions.

No vote depends on the order of the members, to the last bit.

Shapes: M members, N segments, K categories in alphabetical order, or dimensions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vote: TypeAlias = Literal["hard", "soft", "mean"]

VOTES: tuple[Vote, ...] = get_args(Vote)
"""The kinds of votes; `hard` and `soft` are of emotions, `mean` is of dimensions."""

MIN_MEMBERS = 2


def combine(vote: Vote, values_MNK: Floats, choices_MN: NDArray[np.intp] | None = None) -> Floats:
    """Return scores_NK, what the ensemble says; of emotions, the winner has the highest.

    Args:
        vote: one of VOTES.
        values_MNK: probabilities of the categories, or values of the dimensions.
        choices_MN: the category that each member votes for in a hard vote; None for the one that it
            finds most probable, of equals the first.

    Raises:
        ValueError: there are fewer than two members, or an unknown vote.
    """
    if len(values_MNK) < MIN_MEMBERS:
        raise ValueError(f"{len(values_MNK)} members are no ensemble; it takes {MIN_MEMBERS}")
    if vote == "hard":
        return hard_vote(values_MNK, choices_MN)
    if vote in ("soft", "mean"):
        return mean_vote(values_MNK)
    raise ValueError(f"vote {vote!r} is none of {', '.join(VOTES)}")


def members_sha256(vote: Vote, weights_sha256: Sequence[str]) -> str:
    """Return the hash that stands for an ensemble: of its vote and its members, in any order."""
    text = json.dumps({"vote": vote, "members": sorted(weights_sha256)})
    return hashlib.sha256(text.encode()).hexdigest()


def hard_vote(probabilities_MNK: Floats, choices_MN: NDArray[np.intp] | None = None) -> Floats:
    r"""Return scores_NK of a majority vote: its highest score is the winner's.

    .. math:: s_k = \frac{v_k + \bar p_k / 2}{M + 1/2}

    with the votes v_k for a category and its mean probability. That is the share of the members and
    half a voter, who divides its voice as the mean probability says. So the scores sum to 1, and as
    half a voice outweighs none, it decides nothing but ties.

    Args:
        probabilities_MNK: 0 to 1, summing to 1 over K; NaN makes the segment's scores NaN.
        choices_MN: as in `combine`.

    Example:
        >>> one_two_two = np.array([[[0.6, 0.4]], [[0.1, 0.9]], [[0.4, 0.6]]])
        >>> hard_vote(one_two_two).round(3).tolist()
        [[0.338, 0.662]]
    """
    if choices_MN is None:
        choices_MN = probabilities_MNK.argmax(axis=-1)
    num_members, _, num_categories = probabilities_MNK.shape
    votes_NK = (choices_MN[:, :, None] == np.arange(num_categories)).sum(axis=0)
    return np.asarray((votes_NK + mean_vote(probabilities_MNK) / 2) / (num_members + 0.5))


def mean_vote(values_MNK: Floats) -> Floats:
    """Return scores_NK, the mean over the members.

    Example:
        >>> mean_vote(np.array([[[0.25]], [[0.75]]])).tolist()
        [[0.5]]
    """
    # Sorted, because a sum of floats depends on their order, and members have none.
    return np.asarray(np.sort(values_MNK.astype(np.float64), axis=0).mean(axis=0))
