"""What is known of a night: the file night.json, of which the pages and notifications are made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ser_model import storage
from ser_model.models.configuration import build
from ser_model.schema import SCHEMA_VERSION, RunError

NIGHT_FILE = "night.json"
NIGHTS_FOLDER = "nights"

Outcome: TypeAlias = Literal["first", "accepted", "refused", "unchanged"]
"""first: there was no champion; unchanged: the candidate is the champion, or there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """A row of statistics.parquet that the pages follow from night to night.

    Attributes:
        slice: as in statistics.parquet, "" for all segments; so are target and metric.
        target: see slice.
        metric: see slice; of a gap with `_gap`.
        value: None where there is none.
        ci_low: lower end of the 95 % interval; None where there is none.
        ci_high: upper end.
        verdict: pass, fail, inconclusive, suppressed; None where nothing is judged.
    """

    slice: str
    target: str
    metric: str
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    verdict: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One model on one corpus.

    Attributes:
        role: candidate or champion.
        model_uri: pinned to a version.
        model_version: as the audit names it.
        weights_sha256: of the model.
        run: folder of `serval score`.
        audit: folder of `serval audit`.
        num_segments: segments x conditions in the run.
        num_rejections: those without a score.
        audio_s: seconds of audio in the run.
        scored_now_s: seconds of audio that this night scored; the rest was there before.
        device_s: seconds that this night's scoring took, times its workers.
        cost: of `device_s`, where the configuration has a price.
        headlines: statistics of clean audio, in a fixed order.
    """

    role: Literal["candidate", "champion"]
    model_uri: str
    model_version: str
    weights_sha256: str
    run: str
    audit: str
    num_segments: int
    num_rejections: int
    audio_s: float
    scored_now_s: float
    device_s: float
    cost: float | None = None
    headlines: tuple[Headline, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftFinding:
    """One thing in which tonight may differ from the nights before.

    Attributes:
        kind: jensen_shannon_divergence, population_stability_index, rejected_share, new_speakers,
            new_languages or missing_metadata.
        subject: what of: a target, a column, or "".
        value: how much; None where it cannot be told, see `detail`.
        threshold: above which it is an alarm; None for never.
        is_alarm: whether it is.
        detail: a sentence for people.
    """

    kind: str
    subject: str
    value: float | None
    threshold: float | None
    is_alarm: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusNight:
    """What a night found on one corpus.

    Attributes:
        name: of the corpus in the configuration.
        models: the candidate and the champion, those that there are.
        report: report.html of the candidate, or of the champion where there is no candidate.
        gate: file of the gate's decision; None where nothing was compared.
        gate_outcome: pass, fail or inconclusive; None likewise.
        is_accepted: what the decision says; None likewise.
        reasons: sentences, why the gate refuses.
        drift: what was looked at.
    """

    name: str
    models: tuple[Scored, ...] = ()
    report: str | None = None
    gate: str | None = None
    gate_outcome: str | None = None
    is_accepted: bool | None = None
    reasons: tuple[str, ...] = ()
    drift: tuple[DriftFinding, ...] = ()

    @property
    def alarms(self) -> tuple[DriftFinding, ...]:
        """The findings that are beyond their thresholds."""
        return tuple(finding for finding in self.drift if finding.is_alarm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """A night, whole.

    Attributes:
        name: a date, 2026-11-21, or what --night said.
        started: UTC, ISO 8601.
        ended: likewise.
        candidate: URI of the model, pinned; None where there is none.
        champion: likewise, as it was when the night began.
        outcome: what became of the candidate.
        is_promoted: whether it took the champion's place.
        exit_code: 0, or 1 where it was refused or an alarm was raised.
        corpora: in the order of the configuration.
        mlflow_run: id of the night's run.
        code_version: of Serval.
        schema_version: of this file.
    """

    name: str
    started: str
    ended: str
    candidate: str | None
    champion: str | None
    outcome: Outcome
    is_promoted: bool
    exit_code: int
    corpora: tuple[CorpusNight, ...]
    mlflow_run: str | None = None
    code_version: str = ""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the file's content."""
        return dataclasses.asdict(self)


def night_folder(output: str, name: str) -> str:
    """Return the folder of a night."""
    return storage.join(output, NIGHTS_FOLDER, name)


def find_night(output: str, name: str) -> Night | None:
    """Return a night that is complete; None where it is not.

    Args:
        output: as the configuration names it; its nights are in `nights/NAME/night.json`.
        name: of the night.

    Raises:
        RunError: the file is damaged.
    """
    uri = storage.join(night_folder(output, name), NIGHT_FILE)
    try:
        return build(Night, storage.read_json(uri))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(f"{uri} is damaged: {error}") from error


def read_nights(output: str) -> list[Night]:
    """Return all complete nights of a folder, by name.

    Raises:
        RunError: a file is damaged.
    """
    names = storage.list_names(storage.join(output, NIGHTS_FOLDER))
    found = (find_night(output, name) for name in sorted(names))
    return [night for night in found if night is not None]
