"""Writes what a suite found beside the other tables of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipelines.suites.judging import judge_suite
from ser_model import storage

TESTS_FILE = "tests.parquet"


def write_suite(
    suite: str | None, statistics: pa.Table, groupings: Sequence[str], output: str
) -> dict[str, Any]:
    """Judge a suite and write its tests.

    Args:
        suite: its name; None for none.
        statistics: schema.STATISTICS.
        groupings: for which the metadata has columns.
        output: the folder of the audit.

    Returns:
        What audit.json says of it; nothing where there is no suite.
    """
    if suite is None:
        return {}
    found = judge_suite(suite, statistics, groupings)
    storage.write_table(storage.join(output, TESTS_FILE), found.tests)
    return {"suite": {"name": suite, "groupings": list(groupings), "models": list(found.models)}}
