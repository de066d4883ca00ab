"""Every table, from corpora on disk to numbers beside the published ones, in miniature."""

from __future__ import annotations

import pytest

from orchestration.reproduce.changes import Changes
from orchestration.reproduce.published import list_published
from orchestration.reproduce.reproducing import plan_table, reproduce
from orchestration.reproduce.rows.planned import NOT_SUPPORTED
from orchestration.reproduce.steps.base import Context

EXPECTED_REASONS = ("not trained here: ",)
"""How a reason may begin that a row has no number of ours with all corpora and weights at hand."""

NOT_YET = (
    "deoliveira/fig2 deoliveira/fig3 deoliveira/table1 deoliveira/table2 gavali/fig10 gavali/fig13 "
    "gavali/fig16 gavali/fig19 gavali/fig22 gavali/fig25 gavali/fig27 gavali/fig7 gavali/table4 "
    "gavali/table5 gavali/table6"
).split()
"""Tables with rows that nothing reads yet."""


def is_supported(name: str, context: Context, changes: Changes) -> bool:
    planned = [row for _, row in plan_table(name, context.corpora, changes).rows]
    return NOT_SUPPORTED not in planned


@pytest.mark.parametrize("name", list_published())
def test_every_row_has_a_number_of_ours_or_a_reason(
    name: str, context: Context, changes: Changes
) -> None:
    result = reproduce(name, context, changes)
    for row in result.rows:
        if row.ours is None:
            assert row.note.endswith(NOT_SUPPORTED) or row.note.startswith(EXPECTED_REASONS), row
