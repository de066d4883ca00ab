"""Search for the best ensemble of some runs: all that `serval ensemble search` finds out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.ensembles.data import Said, SearchData, line_up, read_said
from orchestration.ensembles.members import Members, find_members
from orchestration.ensembles.search import SplitSearch, list_combinations, search_split
from orchestration.found_runs import FoundRun
from ser_model.schema import ConfigError, ManifestError, RunError
from ser_model.voting import Vote

SEARCHED_SPLITS = ("dev", "test")
"""What can be chosen on."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCost:
    """What a member costs; None where it is not known.

    Attributes:
        model_s: seconds of the model for the audio of the run, of all workers together.
        audio_s_per_s: audio seconds that one worker's model scores in a second.
        weights_bytes: size of the weights on disk.
    """

    model_s: float | None
    audio_s_per_s: float | None
    weights_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search found.

    Attributes:
        members: their names.
        runs: where they are.
        vote: hard, soft or mean.
        split: what was chosen on.
        num_combinations: that were tried.
        searches: by split, dev always among them where the runs cover it.
        costs: of each member.
    """

    members: tuple[str, ...]
    runs: tuple[str, ...]
    vote: Vote
    split: str
    num_combinations: int
    searches: Mapping[str, SplitSearch]
    costs: tuple[MemberCost, ...]


def search_ensembles(
    runs: Sequence[str],
    metadata_uri: str,
    *,
    sizes: Sequence[int],
    split: str = "dev",
    vote: Vote | None = None,
    truth_range: tuple[float, float] = (0.0, 1.0),
    num_replicates: int = 1000,
    seed: int = 0,
) -> SearchResult:
    """Measure every combination of the runs' models on dev, and where asked for on test too.

    Args:
        runs: folders of `serval score`, or files of predictions of any other tool.
        metadata_uri: manifest, or table with `segment_id`, `split`, `speaker_id` and truth.
        sizes: how many members an ensemble may have.
        split: what to choose on.
        vote: as of `vote_on_runs`.
        truth_range: scale of the truth.
        num_replicates: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        RunError: the members cannot vote together, or the runs do not cover the split.
        ManifestError: the metadata cannot be used, or has no such split.
        ConfigError: a size does not fit, or there are too many combinations.
    """
    if split not in SEARCHED_SPLITS:
        raise ConfigError(f"--split {split} is none of {', '.join(SEARCHED_SPLITS)}")
    members = find_members(runs)
    combinations = list_combinations(len(members.names), sizes)
    said = read_said(members, vote)
    found = _line_up_splits(said, metadata_uri, split, truth_range)
    logger.info("search: %d combinations", len(combinations))
    return SearchResult(
        members=members.names,
        runs=tuple(run.uri for run in members.runs),
        vote=said.vote,
        split=split,
        num_combinations=len(combinations),
        searches={
            name: search_split(
                data, combinations, said.vote, num_replicates=num_replicates, seed=seed
            )
            for name, data in found.items()
        },
        costs=_costs(members),
    )


def _line_up_splits(
    said: Said, metadata_uri: str, wanted: str, truth_range: tuple[float, float]
) -> dict[str, SearchData]:
    """Return dev where the runs cover it, and what is wanted."""
    found: dict[str, SearchData] = {}
    # Nobody looks at test without asking for it.
    for split in dict.fromkeys(("dev", wanted)):
        try:
            data = line_up(said, metadata_uri, split, truth_range=truth_range)
        except ManifestError:
            if split == wanted:
                raise
            continue
        if data is None:
            continue
        found[split] = data
        if data.num_left_out:
            logger.warning(
                "search: %d segments of %s are left out: they have no truth, or no prediction of "
                "every member",
                data.num_left_out,
                split,
            )
    if wanted not in found:
        raise RunError(
            f"the runs hold no segment of split {wanted!r} of {metadata_uri}; score it first: "
            f"serval score M --split {wanted} --model URI --output RUN"
        )
    return found


def _costs(members: Members) -> tuple[MemberCost, ...]:
    return tuple(_cost(run) for run in members.runs)


def _cost(run: FoundRun) -> MemberCost:
    speed = run.about.get("speed", {})
    audio_s_per_s = None
    if speed.get("model_s") and speed.get("audio_s"):
        audio_s_per_s = speed["audio_s"] / speed["model_s"]
    weights_bytes = None
    if run.model is not None:
        # Loads torch, which a file of predictions has no use for.
        from orchestration.model_uris import size_on_disk

        weights_bytes = size_on_disk(run.model[0])
    return MemberCost(
        model_s=None if audio_s_per_s is None else run.about["counts"]["audio_s"] / audio_s_per_s,
        audio_s_per_s=audio_s_per_s,
        weights_bytes=weights_bytes,
    )
