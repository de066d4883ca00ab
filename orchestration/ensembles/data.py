"""What the members of an ensemble say of a split, lined up with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from orchestration.ensembles.members import Members, choose_vote
from ser_model.manifest import read_metadata, select_split
from ser_model.metrics.moments import Floats
from ser_model.schema import CLEAN, DIMENSIONS, RunError
from ser_model.voting import Vote

if TYPE_CHECKING:
    from pipelines.transforms.voting import MemberValues


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchData:
    """The segments of a split that have a truth, and of which every member has a prediction.

    Attributes:
        split: its name.
        targets: the emotions of members and truth, sorted; or the dimensions that both have.
        values: values_MNK, probabilities of the emotions or values of the dimensions.
        choices: choices_MN, the emotion that each member names; None of dimensions.
        truth: [N] of emotions their numbers, [N, K] of dimensions.
        speaker: [N] the number of each segment's speaker.
        speakers: their names.
        num_left_out: segments of the split without a truth, or without a prediction of a member.
    """

    split: str
    targets: tuple[str, ...]
    values: Floats
    choices: NDArray[np.intp] | None
    truth: NDArray[Any]
    speaker: NDArray[np.intp]
    speakers: tuple[str, ...]
    num_left_out: int

    @property
    def num_segments(self) -> int:
        """N."""
        return len(self.speaker)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the members say of all their segments, under the condition "clean".

    Attributes:
        vote: a fitting one.
        targets: what is voted on.
        values: lined up.
    """

    vote: Vote
    targets: tuple[str, ...]
    values: MemberValues


def read_said(members: Members, vote: Vote | None) -> Said:
    """Read what the members say.

    Raises:
        RunError: they cannot vote together.
    """
    from pipelines.transforms.members import compare_partition, read_members
    from pipelines.transforms.voting import Ensemble, member_values

    rows = read_members(members.files())
    rows = rows.filter(pc.equal(rows["condition"], CLEAN)).combine_chunks()
    comparison = compare_partition(rows, len(members.names))
    chosen = choose_vote(comparison, members, vote)
    ensemble = Ensemble(vote=chosen, members=members.names, targets=comparison.targets(chosen))
    return Said(vote=chosen, targets=ensemble.targets, values=member_values(rows, ensemble))


def line_up(
    said: Said, metadata_uri: str, split: str, *, truth_range: tuple[float, float]
) -> SearchData | None:
    """Join what the members say with the truth of a split.

    Args:
        said: by the members.
        metadata_uri: manifest, or table with `segment_id`, `split`, `speaker_id` and truth.
        split: train, dev or test.
        truth_range: scale of the truth.

    Returns:
        None where no segment of the split is in the runs.

    Raises:
        ManifestError: the metadata cannot be used, or has no such split.
        RunError: the truth knows nothing of what the members predict.
    """
    from pipelines.transforms.reading import metadata_rows
    from pipelines.transforms.tables import array

    metadata = select_split(read_metadata(metadata_uri, truth_range=truth_range), split)
    rows = metadata_rows(metadata, ()).combine_chunks()
    at = pc.index_in(array(rows, "segment_id"), pa.array(said.values.segment_ids))
    if at.null_count == len(at):
        return None
    of_emotions = said.values.choices is not None
    targets, truth, has_truth = (_emotions if of_emotions else _dimensions)(
        rows, said.targets, metadata_uri
    )
    position = pc.fill_null(at, 0).to_numpy()
    has_prediction = at.is_valid().to_numpy(zero_copy_only=False)
    has_prediction &= np.asarray(said.values.is_known.all(axis=0))[position]
    kept = has_truth & has_prediction
    if not kept.any():
        raise RunError(
            f"no segment of split {split!r} in {metadata_uri} has both a truth and a prediction of "
            "every member"
        )
    speakers = np.array(array(rows, "speaker_id").to_pylist(), dtype=np.str_)[kept]
    names, speaker = np.unique(speakers, return_inverse=True)
    values, choices = _over(said, position[kept], targets)
    return SearchData(
        split=split,
        targets=targets,
        values=values,
        choices=choices,
        truth=truth[kept],
        speaker=speaker,
        speakers=tuple(names.tolist()),
        num_left_out=int((~kept).sum()),
    )


def _over(
    said: Said, segments: NDArray[np.intp], targets: Sequence[str]
) -> tuple[Floats, NDArray[np.intp] | None]:
    """Return values_MNK and choices_MN of some segments over other targets.

    An emotion that no member knows has the probability 0; a dimension without truth is left out.
    """
    values = said.values.values[:, segments]
    with_nothing = np.concatenate([values, np.zeros((*values.shape[:2], 1))], axis=-1)
    columns = [said.targets.index(name) if name in said.targets else -1 for name in targets]
    if said.values.choices is None:
        return with_nothing[..., columns], None
    numbers = np.array([targets.index(name) for name in said.targets])
    return with_nothing[..., columns], numbers[said.values.choices[:, segments]]


def _emotions(
    rows: pa.Table, predicted: Sequence[str], uri: str
) -> tuple[tuple[str, ...], NDArray[Any], NDArray[np.bool_]]:
    """Return the emotions of both sides, the number of each truth, and where there is one."""
    from pipelines.transforms.tables import array

    truth = array(rows, "emotion")
    known = set(truth.drop_null().to_pylist())
    if not known & set(predicted):
        raise RunError(
            f"the members predict {', '.join(predicted)}, but the truth in {uri} says "
            f"{', '.join(sorted(known)) or 'nothing of emotions'}: no emotion in common"
        )
    targets = tuple(sorted(known | set(predicted)))
    at = pc.index_in(truth, pa.array(targets, pa.string()))
    has_truth = at.is_valid().to_numpy(zero_copy_only=False)
    return targets, pc.fill_null(at, 0).to_numpy().astype(np.intp), has_truth


def _dimensions(
    rows: pa.Table, predicted: Sequence[str], uri: str
) -> tuple[tuple[str, ...], NDArray[Any], NDArray[np.bool_]]:
    """Return the dimensions of both sides, their truth [rows, K], and where all of it is."""
    from pipelines.transforms.tables import floats

    truth = {name: floats(rows, name) for name in DIMENSIONS}
    targets = tuple(n for n in DIMENSIONS if n in predicted and np.isfinite(truth[n]).any())
    if not targets:
        raise RunError(f"the members predict {', '.join(predicted)}, of which {uri} holds no truth")
    table = np.stack([truth[name] for name in targets], axis=1)
    return targets, table, np.asarray(np.isfinite(table).all(axis=1))
