"""Whole jobs for benchmarks/scoring.py: `serval score` from FLAC shards, and one of Ray Data.

Both score the same 10 s segments with the same model. Their speed is taken while workers are at
work: starting Ray and loading models, which a long job does once, is left out for both.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scoring_rivals import Transformers, Waveforms

from ser_model.models.logmel import SAMPLING_RATE_HZ
from ser_model.models.storage import load_model
from ser_model.schema import SHARD

if TYPE_CHECKING:
    from orchestration.score_summary import ScoreSummary

BATCH_SIZE = 8
"""Segments in a batch of the rival."""


def serval_end_to_end(
    waveforms: Waveforms, model: str, *, device: str, dtype: str, local: bool
) -> float:
    """Score FLAC in Parquet as `serval score` does; return audio seconds per second.

    Args:
        waveforms: the segments; the corpus is cut into eight shards a worker, of 256 at most.
        model: folder of the model.
        device: "cpu" or "cuda".
        dtype: of the arithmetic.
        local: without Ray.

    Raises:
        ImportError: what FLAC and a run need is not installed.
    """
    from orchestration.scoring import score

    kind = "cuda" if device.startswith("cuda") else "cpu"
    num_workers = 1 if kind == "cuda" or local else len(os.sched_getaffinity(0))
    num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "corpus.parquet"
        per_shard = min(256, max(1, len(waveforms) // (8 * num_workers)))
        write_corpus(source, waveforms, per_shard)
        summary: ScoreSummary = score(
            str(source),
            model_uri=model,
            output=f"{folder}/run",
            devices=kind,
            num_workers=num_workers,
            dtype=dtype,
            local=local,
        )
    torch.set_num_threads(num_threads)  # a run in this process has set its own
    assert summary.num_predictions == len(waveforms), summary
    return summary.audio_scored_now_s / summary.scoring_s


def write_corpus(path: Path, waveforms: Waveforms, segments_per_shard: int) -> None:
    """Write a Parquet file with audio, whose row groups are the shards."""
    from ser_model.audio import encode_flac

    encoded: dict[int, bytes] = {}  # a corpus for a GPU repeats a few waveforms
    with pq.ParquetWriter(path, SHARD) as writer:
        for first in range(0, len(waveforms), segments_per_shard):
            rows = []
            for number, waveform in enumerate(waveforms[first:][:segments_per_shard], first):
                if id(waveform) not in encoded:
                    encoded[id(waveform)] = encode_flac(waveform)
                rows.append(
                    {
                        "segment_id": f"{number:06d}",
                        "audio": {"bytes": encoded[id(waveform)], "path": None},
                        "sampling_rate_hz": SAMPLING_RATE_HZ,
                        "num_samples": len(waveform),
                    }
                )
            writer.write_table(pa.Table.from_pylist(rows, schema=SHARD))


class RayDataScorer:
    """The stateful function of the rival's map_batches: padded batches through transformers."""

    def __init__(self, model: str, device: str, dtype: str) -> None:
        """Load the model once for an actor."""
        if device == "cpu":
            torch.set_num_threads(1)  # one actor a core
        self._transformers = Transformers(load_model(model), device, getattr(torch, dtype))

    def __call__(
        self, batch: dict[str, npt.NDArray[np.float32]]
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Return the scores of a batch, and when it was begun and ended."""
        began_s = time.time()
        scores = self._transformers.score_padded(list(batch["audio"]))
        return {
            "scores": np.array(scores),
            "began_s": np.full(len(scores), began_s),
            "ended_s": np.full(len(scores), time.time()),
        }


def ray_data(waveforms: Waveforms, model: str, *, device: str, dtype: str) -> float:
    """Score waveforms in a Ray Data job, from the object store; return audio seconds per second."""
    import ray
    import ray.data

    on_gpu = device.startswith("cuda")
    num_cpus = len(os.sched_getaffinity(0))
    ray.init(
        num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = (
            # Cut here: Ray's own tasks would wait for a core, and the actors hold them all.
            ray.data.from_items(
                [{"audio": waveform} for waveform in waveforms],
                override_num_blocks=max(1, len(waveforms) // BATCH_SIZE),
            )
            .map_batches(
                RayDataScorer,
                fn_constructor_args=(model, "cuda" if on_gpu else "cpu", dtype),
                batch_size=BATCH_SIZE,
                compute=ray.data.ActorPoolStrategy(size=1 if on_gpu else num_cpus),
                num_cpus=1,
                num_gpus=1 if on_gpu else 0,
            )
            .take_all()
        )
    finally:
        ray.shutdown()
    assert len(rows) == len(waveforms)
    audio_s = sum(len(waveform) for waveform in waveforms) / SAMPLING_RATE_HZ
    work_s = max(row["ended_s"] for row in rows) - min(row["began_s"] for row in rows)
    return float(audio_s / work_s)
