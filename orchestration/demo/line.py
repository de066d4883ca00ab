"""The demo's line: corpus, training, scoring, audit, report. Read this to see Serval used.

Each step calls what the command of its name calls, and imports it only when it has work to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from orchestration.demo.champions import champion_uri, train_champion
from orchestration.demo.steps import Record, Step, run_steps
from orchestration.demo.text_line import TextLine
from orchestration.progress import Progress
from ser_model import storage
from ser_model.schema import CLEAN, ConfigError, RunError

TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
MODEL_NAME = "serval-demo"
SEGMENTS_PER_SHARD = 50
"""Small, so that both workers have something to do and a killed run something to resume."""

CONDITIONS = "severity"
"""White noise from mild to harsh, beside clean: it needs no sounds but its own."""

SLICES = (("sex",), ("accent",))


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """What decides the outcome of a demo.

    Attributes:
        seed: of corpus, training and bootstrap.
        quick: a corpus so small that it shows that everything works, not how well.
        with_text: models that read transcripts are trained and audited too, behind all else.
    """

    seed: int = 0
    quick: bool = False
    with_text: bool = False

    def __post_init__(self) -> None:
        """Refuse a seed that no generator takes."""
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed} is negative")


def run_demo(
    folder: Path, config: DemoConfig, say: Callable[[str], object] = lambda _: None
) -> dict[str, Record]:
    """Make a corpus, train, register, pack, score, audit and report; resume what was cut short.

    Args:
        folder: for all that the demo makes, its MLflow store included.
        config: which demo.
        say: told in a line of each step.

    Returns:
        The outcome of each step by its name: corpus, train, score, audit, report, noise, and with
        text those of `TextLine`.

    Raises:
        RunError: the folder holds a demo of another configuration or version.
        ConfigError: the folder cannot be written.
    """
    folder = folder.absolute()
    # Without with_text: a demo that was made without text goes on with it in the same folder.
    identity = {
        "seed": config.seed,
        "quick": config.quick,
        "serval": version("serval"),
        "under": CONDITIONS,
    }
    _claim(folder, identity)
    os.environ.setdefault(TRACKING_VARIABLE, tracking_uri(folder))
    line = _Line(folder=folder, config=config)
    steps = line.steps()
    if config.with_text:
        steps += TextLine(folder=folder, seed=config.seed).steps()
    return run_steps(str(folder), steps, identity, say)


def tracking_uri(folder: Path) -> str:
    """Return where the demo's MLflow store is, unless TRACKING_VARIABLE says otherwise."""
    return f"sqlite:///{folder.absolute() / 'mlflow.db'}"


def _claim(folder: Path, identity: Mapping[str, object]) -> None:
    """Keep two demos from mixing in one folder."""
    uri = str(folder / "demo.json")
    try:
        if storage.create_if_absent(uri, storage.to_json_bytes(identity)):
            return
    except OSError as error:
        raise ConfigError(f"--dir {folder} cannot be written ({error})") from error
    found = storage.read_json(uri)
    if found != identity:
        raise RunError(
            f"{folder} holds another demo ({_words(found)}; this is {_words(identity)}): "
            "choose another --dir, or delete that folder"
        )


def _words(identity: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(identity.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """The steps, all in one folder."""

    folder: Path
    config: DemoConfig

    def steps(self) -> list[Step]:
        return [
            Step(
                name="corpus",
                doing="make a synthetic corpus",
                output="corpus/corpus.json",
                work=self.make_corpus,
            ),
            Step(
                name="train",
                doing="train a small CNN and register it in MLflow",
                output="model/train.json",
                work=self.train,
            ),
            Step(
                name="score",
                doing="pack the test split and score it with Ray, clean and under white noise",
                output="run/run.json",
                work=self.pack_and_score,
            ),
            Step(
                name="audit",
                doing="audit the predictions with Beam",
                output="audit/audit.json",
                work=self.audit,
            ),
            Step(name="report", doing="write the report", output="report.html", work=self.report),
            Step(
                name="noise",
                doing="make noise to score under more conditions with",
                output="noise/README.md",
                work=self.make_noise,
            ),
        ]

    def at(self, *parts: str) -> str:
        return str(self.folder.joinpath(*parts))

    @property
    def manifest(self) -> str:
        return self.at("corpus", "manifest.csv")

    def make_corpus(self) -> Mapping[str, object]:
        from orchestration.demo.corpus import full_corpus, make_corpus, quick_corpus

        config = (quick_corpus if self.config.quick else full_corpus)(self.config.seed)
        with Progress("speak", total=len(config.speakers) * config.num_segments) as progress:
            return make_corpus(self.at("corpus"), config, when_recorded=progress.advance)

    def train(self) -> Mapping[str, object]:
        return train_champion(
            "demo", self.manifest, self.at("model"), name=MODEL_NAME, seed=self.config.seed
        )

    def pack_and_score(self) -> Mapping[str, object]:
        from orchestration.packing import pack_manifest
        from orchestration.scoring import score

        shards = self.at("shards")
        pack_manifest(self.manifest, shards, split="test", segments_per_shard=SEGMENTS_PER_SHARD)
        summary = score(
            shards,
            model_uri=champion_uri(MODEL_NAME),
            output=self.at("run"),
            conditions=(CONDITIONS,),
        )
        clean = summary.counts_by_condition[CLEAN]
        return {
            "model_uri": summary.model_uri,
            "num_conditions": len(summary.counts_by_condition),
            "num_clean_predictions": clean["num_predictions"],
            "num_predictions": summary.num_predictions,
            "num_rejections": summary.num_rejections,
            "content_sha256": summary.content_sha256,
        }

    def audit(self) -> Mapping[str, object]:
        from orchestration.auditing import audit_runs

        audit_runs(
            [self.at("run")],
            self.manifest,
            self.at("audit"),
            slices=SLICES,
            seed=self.config.seed,
            # The report has to say that this speech is synthetic.
            provenance={"corpus": storage.read_json(self.at("corpus", "corpus.json"))},
        )
        return {"audit": self.at("audit")}

    def report(self) -> Mapping[str, object]:
        from orchestration.report.render import render_report

        summary = render_report(self.at("audit"), self.at("report.html"))
        return {"num_bytes": summary.num_bytes}

    def make_noise(self) -> Mapping[str, object]:
        from orchestration.demo.noises import make_noises

        return make_noises(self.at("noise"), self.config.seed)
