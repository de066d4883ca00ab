"""Let the members of an ensemble vote: their runs become a run of what they say together.

    find_members -> compare_members (Beam) -> Ledger.start -> vote_on_segments (Beam) -> complete

Nothing is scored again. The run that comes out is like one of `serval score`: each segment under
each condition is in it once, as a prediction or a rejection, whoever dies on the way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.commits import RunIdentity, read_run
from orchestration.ensembles.members import ENSEMBLE_SCHEME, Members, choose_vote, find_members
from orchestration.ledger import Ledger
from ser_model import storage
from ser_model.schema import RunError, UnfinishedError
from ser_model.voting import Vote, members_sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteSummary:
    """What a vote came to.

    Attributes:
        run: the folder.
        vote: hard, soft or mean.
        num_rejected_by_member: the segments, under any condition, that each member rejected.
        num_segments: segments x conditions in the run.
        num_predictions: those with a prediction of every member.
        num_rejections: those without.
        num_rejections_by_reason: the latter by reason code.
        content_sha256: hash of all rows.
    """

    run: str
    vote: Vote
    num_rejected_by_member: Mapping[str, int]
    num_segments: int
    num_predictions: int
    num_rejections: int
    num_rejections_by_reason: Mapping[str, int]
    content_sha256: str


def vote_on_runs(
    runs: Sequence[str],
    output: str,
    *,
    vote: Vote | None = None,
    beam_options: Sequence[str] = (),
) -> VoteSummary:
    """Vote on the predictions of runs; a vote that is complete is not held again.

    Args:
        runs: folders of `serval score`, or files of predictions of any other tool.
        output: folder of the run to write.
        vote: hard or soft, of emotions, or mean, of dimensions; None for hard or mean, as fits.
        beam_options: options of Beam, as on its command line.

    Raises:
        RunError: a member is absent or incomplete, the members do not cover the same segments,
            conditions and targets, or the folder holds another run.
        ConfigError: Beam does not know the runner.
        UnfinishedError: the storage failed; the same call goes on.
    """
    members = find_members(runs)
    run_uri = storage.absolute(output)
    try:
        run = _find_complete(run_uri, members, vote)
        if run is None:
            run = _vote(members, run_uri, vote, beam_options)
        else:
            logger.info("vote: %s is complete already", output)
    except OSError as error:
        raise UnfinishedError(f"{error}: run the same command again to resume") from error
    counts = {name: run["counts"][name] for name in run["counts"] if name != "audio_s"}
    ensemble = run["ensemble"]
    return VoteSummary(
        run=output,
        vote=ensemble["vote"],
        num_rejected_by_member={
            member["name"]: member["num_rejected"] for member in ensemble["members"]
        },
        content_sha256=run["content_sha256"],
        **counts,
    )


def _find_complete(run_uri: str, members: Members, vote: Vote | None) -> dict[str, Any] | None:
    """Return the content of run.json, if these members' vote is complete there.

    Raises:
        RunError: the folder holds another run, which nothing is to be written to.
    """
    if not storage.exists(storage.join(run_uri, "run.json")):
        return None
    run = read_run(run_uri)
    if run.get("identity", {}).get("source_sha256") != members.content_sha256():
        raise RunError(f"{run_uri} holds another run; choose another --output")
    same_vote = vote in (None, run.get("ensemble", {}).get("vote"))
    return run if run.get("status") == "complete" and same_vote else None


def _vote(
    members: Members, run_uri: str, vote: Vote | None, beam_options: Sequence[str]
) -> dict[str, Any]:
    from pipelines.ensemble import compare_members, vote_on_segments
    from pipelines.transforms.voting import Ensemble

    logger.info("vote: comparing what %d members cover", len(members.names))
    comparison = compare_members(
        members.files(), run_uri, num_members=len(members.names), beam_options=beam_options
    )
    chosen = choose_vote(comparison, members, vote)
    num_segments_by_shard = comparison.num_segments_by_shard()
    ledger = Ledger(run_uri, _identify(members, chosen, num_segments_by_shard))
    num_rejected = [facts.num_rejected for facts in comparison.members]
    run = ledger.start({"ensemble": _describe(members, chosen, num_rejected)})
    if run["status"] != "complete":
        logger.info("vote: %s vote on %d segments", chosen, comparison.num_segments)
        vote_on_segments(
            members.files(),
            Ensemble(vote=chosen, members=members.names, targets=comparison.targets(chosen)),
            conditions=comparison.conditions,
            num_shards=len(num_segments_by_shard),
            commit=ledger.commit,
            beam_options=beam_options,
        )
        run = ledger.complete(num_segments_by_shard, comparison.conditions)
    return run


def _identify(members: Members, vote: Vote, num_segments_by_shard: Sequence[int]) -> RunIdentity:
    """Return all that the votes depend on, in the words of a run that was scored."""
    dtypes = {run.about["identity"]["dtype"] for run in members.runs if run.model is not None}
    return RunIdentity(
        model_uri=f"{ENSEMBLE_SCHEME}{vote}({'+'.join(members.uris)})",
        model_version=f"{vote}({'+'.join(members.names)})",
        weights_sha256=members_sha256(vote, members.weights_sha256),
        dtype="+".join(sorted(dtypes)) or "unknown",
        embeddings=False,
        num_threads=1,
        source_sha256=members.content_sha256(),
        num_segments=sum(num_segments_by_shard),
        num_shards=len(num_segments_by_shard),
    )


def _describe(members: Members, vote: Vote, num_rejected: Sequence[int]) -> dict[str, Any]:
    """Return what run.json says of who voted."""
    rows = zip(members.names, members.runs, members.uris, members.weights_sha256, strict=True)
    return {
        "vote": vote,
        "members": [
            {
                "name": name,
                "run": run.uri,
                "content_sha256": run.sha256,
                "model_uri": uri,
                "weights_sha256": sha256,
                "num_rejected": number,
            }
            for (name, run, uri, sha256), number in zip(rows, num_rejected, strict=True)
        ],
    }
