"""What was said in a test, spoken by a neutral synthetic voice and scored by the same model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.reproduce.steps.base import Context, Step
from orchestration.reproduce.steps.predictions import PredictionsStep
from orchestration.reproduce.steps.score import ScoreStep
from orchestration.reproduce.steps.transcribe import TranscribeStep
from orchestration.shard_plan import TRANSCRIPT
from orchestration.transcripts import with_transcripts
from ser_model import storage
from ser_model.manifest import read_manifest, relative_to, write_manifest
from ser_model.schema import ManifestError


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeStep(Step):
    """Probes, as `serval probe text` does, on the segments that have a transcript.

    Attributes:
        scored: the run on the original speech.
        predictions: of this run.
        transcripts: where the corpus has none.
    """

    kind: ClassVar[str] = "probes"
    verb: ClassVar[str] = "probe"
    scored: ScoreStep
    predictions: PredictionsStep
    transcripts: TranscribeStep | None = None

    @property
    def name(self) -> str:
        """Who is probed, and with what."""
        return f"{self.predictions.name} on {self.scored.corpus.name}"

    @property
    def content(self) -> Mapping[str, object]:
        """The voice is the default one."""
        return {}

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The model, what it says of the original speech, and the words."""
        transcripts = () if self.transcripts is None else (self.transcripts,)
        return (self.scored, self.predictions, *transcripts)

    @property
    def petaflop(self) -> float:
        """Synthetic speech is about as long as the original."""
        return self.scored.petaflop

    @property
    def note(self) -> str:
        """Say who speaks, and what."""
        if self.transcripts is not None:
            return "synthetic speech: espeak-ng"
        return "synthetic speech: espeak-ng, of the segments that have a transcript in the corpus"

    def statistics(self, work: str) -> pa.Table:
        """Return probe.parquet."""
        return storage.read_table(storage.join(self.folder(work), "probe", "probe.parquet"))

    def run(self, context: Context) -> None:
        """Probe; original and synthetic speech are of the same segments."""
        from orchestration.text_probe.probing import ProbeConfig, probe_text
        from orchestration.text_probe.synthesis import NeutralVoice

        work, folder = context.work, self.folder(context.work)
        segments = self._spoken_segments(work)
        metadata_uri = storage.join(folder, "segments.parquet")
        write_manifest(metadata_uri, relative_to(segments, metadata_uri))
        said = storage.read_table(self.predictions.uri(work))
        predictions_uri = storage.join(folder, "predictions.parquet")
        ids = segments["segment_id"].combine_chunks()
        storage.write_table(predictions_uri, said.filter(pc.is_in(said["segment_id"], ids)))
        probe_text(
            predictions_uri,
            metadata_uri,
            storage.join(folder, "probe"),
            config=ProbeConfig(voice=NeutralVoice()),
            model_uri=self.scored.model_uri(work),
            devices=context.devices,
            num_workers=context.num_workers,
            local=context.num_workers == 1,
        )

    def _spoken_segments(self, work: str) -> pa.Table:
        uri = self.scored.corpus.uri(work)
        table = read_manifest(uri)
        if self.transcripts is not None:
            table = with_transcripts(table, self.transcripts.folder(work))
        spoken = table.filter(table[TRANSCRIPT].is_valid())
        if not len(spoken):
            raise ManifestError(f"{uri}: no segment has a transcript that could be spoken")
        return spoken
