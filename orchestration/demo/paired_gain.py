"""By how much one model's CCC exceeds another's on the same segments, with its interval.

Shape suffixes: B1 the estimate and then the replicates of the bootstrap, S speakers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestration.demo.held_out import COLUMN, KNOWN, NEW
from orchestration.found_runs import find_run
from orchestration.text_probe.segments import read_scores
from ser_model.manifest import read_metadata
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.concordance import concordance_cc_of
from ser_model.metrics.intervals import effective_speakers, gap_estimate
from ser_model.metrics.moments import CoMoments

DIMENSION = "valence"
NUM_REPLICATES = 1000

Row = dict[str, Any]


def paired_gains(run: str, baseline: str, metadata_uri: str, *, seed: int) -> dict[str, Row]:
    """Compute how much better one run is than another at DIMENSION.

    The speakers that a replicate of the bootstrap draws weigh both runs, so the difference is
    paired; the draws are those of an audit with the same seed.

    Args:
        run: folder of `serval score`.
        baseline: likewise, of the other model.
        metadata_uri: with truth, `speaker_id` and COLUMN.
        seed: of the bootstrap.

    Returns:
        By the kind of sentence (COLUMN), and "" for all: value, ci_low, ci_high, num_segments,
        num_speakers. Numbers that do not exist are None.
    """
    said = [_predictions(uri) for uri in (run, baseline)]
    rows = [
        row
        for row in read_metadata(metadata_uri).to_pylist()
        if all(row["segment_id"] in values for values in said)
    ]
    return {
        kind: _gain([row for row in rows if kind in ("", row[COLUMN])], said, seed)
        for kind in ("", KNOWN, NEW)
    }


def _predictions(run: str) -> dict[str, float]:
    scores = read_scores(find_run(run))
    return dict(zip(scores["segment_id"].to_pylist(), scores[DIMENSION].to_pylist(), strict=True))


def _gain(rows: Sequence[Row], said: Sequence[Mapping[str, float]], seed: int) -> Row:
    truth = np.array([row[DIMENSION] for row in rows])
    names, speaker = np.unique([row["speaker_id"] for row in rows], return_inverse=True)
    keys = speaker_keys(names.tolist())
    weights_BS = poisson_weights(keys, seed=seed, num_replicates=NUM_REPLICATES)
    weights_B1S = np.vstack([np.ones_like(weights_BS[:1]), weights_BS])
    totals = [
        CoMoments.from_groups(
            truth, np.array([values[row["segment_id"]] for row in rows]), speaker, len(names)
        ).weighted_totals(weights_B1S)
        for values in said
    ]
    values_B1, others_B1 = (concordance_cc_of(of_run) for of_run in totals)
    size = effective_speakers(totals[0].n, len(names))
    gap = gap_estimate(values_B1, others_B1, (size, size), len(names))
    low, high = (None, None) if gap is None else gap.interval()
    value = float(values_B1[0] - others_B1[0])
    return {
        "value": value if np.isfinite(value) else None,
        "ci_low": low,
        "ci_high": high,
        "num_segments": len(rows),
        "num_speakers": len(names),
    }
