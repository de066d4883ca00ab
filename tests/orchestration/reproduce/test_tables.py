"""Every table, from corpora on disk to numbers beside the published ones, in miniature."""

from __future__ import annotations

import pytest

from orchestration.reproduce.changes import Changes
from orchestration.reproduce.corpora import Corpora
from orchestration.reproduce.published import list_published
from orchestration.reproduce.reproducing import plan_table, reproduce
from orchestration.reproduce.steps.base import Context

EXPECTED_REASONS = (
    "not trained here: ",
    "fewer than 3 speakers",  # of a sex: the miniatures of IEMOCAP and MOSI have two
    "the emotion was never predicted",  # so it has no precision: one epoch teaches little
    "which is not above 0",  # what learned nothing has such a CCC
    "no variance",  # or says the same of all segments
)
"""Why a row may have no number of ours, with all corpora and weights at hand."""


@pytest.mark.parametrize("name", list_published())
def test_every_row_is_planned_or_of_other_authors(name: str) -> None:
    for _, planned in plan_table(name, Corpora({}), Changes()).rows:
        assert not isinstance(planned, str) or planned.startswith("not trained here: ")


@pytest.mark.parametrize("name", list_published())
def test_every_row_has_a_number_of_ours_or_a_reason(
    name: str, context: Context, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Speakers of a miniature have eight segments, not two hundred.
    monkeypatch.setattr("pipelines.transforms.speaker_draws.SEGMENTS_PER_DRAW", 8)
    result = reproduce(name, context, changes)
    assert result.rows
    for row in result.rows:
        assert row.ours is not None or any(map(row.note.__contains__, EXPECTED_REASONS)), row


def test_a_second_time_nothing_is_done_again(
    context: Context, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reproduce("wagner/fig2", context, changes)
    done_again: list[object] = []
    for module in ("train.TrainStep", "score.ScoreStep", "audit.AuditStep"):
        monkeypatch.setattr(
            f"orchestration.reproduce.steps.{module}.run", lambda step, _: done_again.append(step)
        )
    assert reproduce("wagner/fig2", context, changes) == first
    assert done_again == []
