"""What `serval demo --with-text` does besides: models that read, scored and audited beside the CNN.

Everything is in the folder `text` of the demo's folder. The audio model and its run are those of
the demo's line; they are used and not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.demo.champions import champion_uri, train_champion
from orchestration.demo.steps import Step
from ser_model import storage

FOLDER = "text"
AUDIT = f"{FOLDER}/audit"
REPORT = f"{FOLDER}/report.html"
MODELS = {"text": "serval-demo-text", "fusion": "serval-demo-fusion"}
"""Registered names; the recipes are demo-text and demo-fusion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLine:
    """The steps.

    Attributes:
        folder: of the demo.
        seed: of trainings and bootstrap.
    """

    folder: Path
    seed: int

    def steps(self) -> list[Step]:
        """Return the steps; they need what the demo's line has made."""
        return [
            Step(
                name="hold-out-sentences",
                doing="hold a sixth of the sentences out of the training of what reads",
                output=f"{FOLDER}/manifest.csv",
                work=self.hold_out,
            ),
            Step(
                name="train-text",
                doing="train a tiny text model and register it",
                output=f"{FOLDER}/text/train.json",
                work=lambda: self.train("text"),
            ),
            Step(
                name="train-fusion",
                doing="train a small CNN and a tiny text model together and register them",
                output=f"{FOLDER}/fusion/train.json",
                work=lambda: self.train("fusion"),
            ),
            Step(
                name="score-text",
                doing="score the test split with both",
                output=f"{FOLDER}/fusion-run/run.json",
                work=self.score,
            ),
            Step(
                name="audit-text",
                doing="audit audio, text and fusion beside each other",
                output=f"{AUDIT}/audit.json",
                work=self.audit,
            ),
            Step(
                name="report-text",
                doing="write the report of the three",
                output=REPORT,
                work=self.report,
            ),
        ]

    def hold_out(self) -> Mapping[str, object]:
        """Write the manifest that the models of text are trained on."""
        from orchestration.demo.held_out import hold_out_sentences

        counts = hold_out_sentences(self._at("corpus", "manifest.csv"), self._manifest)
        return {"num_segments": counts}

    def train(self, kind: str) -> Mapping[str, object]:
        """Train the text model or the fusion."""
        return train_champion(
            f"demo-{kind}",
            self._manifest,
            self._at(FOLDER, kind),
            name=MODELS[kind],
            seed=self.seed,
        )

    def score(self) -> Mapping[str, object]:
        """Score the shards that the audio model has scored."""
        from orchestration.scoring import score

        outcome: dict[str, object] = {}
        for kind, name in MODELS.items():
            # Without Ray: starting its workers takes longer than these models do.
            summary = score(
                self._at("shards"), model_uri=champion_uri(name), output=self._run(kind), local=True
            )
            outcome[kind] = {
                "model_uri": summary.model_uri,
                "num_predictions": summary.num_predictions,
                "num_rejections": summary.num_rejections,
                "content_sha256": summary.content_sha256,
            }
        return outcome

    def audit(self) -> Mapping[str, object]:
        """Audit the three runs, and compare the fusion with the audio model, paired."""
        from orchestration.auditing import audit_runs
        from orchestration.demo.held_out import COLUMN
        from orchestration.demo.paired_gain import paired_gains

        audio, text, fusion = self._at("run"), self._run("text"), self._run("fusion")
        audit_runs(
            [audio, text, fusion],
            self._manifest,
            self._at(AUDIT),
            slices=((COLUMN,),),
            seed=self.seed,
            provenance={"corpus": storage.read_json(self._at("corpus", "corpus.json"))},
        )
        return {"gains": paired_gains(fusion, audio, self._manifest, seed=self.seed)}

    def report(self) -> Mapping[str, object]:
        """Write the report."""
        from orchestration.report.render import render_report

        summary = render_report(self._at(AUDIT), self._at(REPORT))
        return {"num_bytes": summary.num_bytes}

    def _at(self, *parts: str) -> str:
        return str(self.folder.joinpath(*parts))

    @property
    def _manifest(self) -> str:
        return self._at(FOLDER, "manifest.csv")

    def _run(self, kind: str) -> str:
        return self._at(FOLDER, f"{kind}-run")
