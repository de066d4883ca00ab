"""Audits runs: finds what of them counts, hands it to the Beam pipeline, and does nothing twice."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from orchestration.audited_training import read_training
from orchestration.finished import find_finished
from orchestration.found_runs import FoundRun, file_sha256, find_run
from pipelines.audit_config import (
    AUDIT_FILE,
    CROSS_CORPUS_MARGINS,
    DEFAULT_MARGINS,
    AuditConfig,
    AuditSummary,
    Minimums,
)
from ser_model import storage
from ser_model.manifest import metadata_columns
from ser_model.schema import ConfigError, ManifestError, RunError

if TYPE_CHECKING:
    from pipelines.transforms.reading import PredictionFile

DEFAULT_SLICES = ("sex", "accent")
"""Metadata columns that are sliced by where nothing else is asked for, if they exist."""

logger = logging.getLogger(__name__)


def audit_runs(
    runs: Sequence[str],
    metadata_uri: str,
    output: str,
    *,
    slices: Sequence[tuple[str, ...]] | None = None,
    strata: Sequence[tuple[str, ...]] = (),
    seed: int = 0,
    truth_range: tuple[float, float] = (0.0, 1.0),
    num_replicates: int = 1000,
    prediction_range: tuple[float, float] = (0.0, 1.0),
    cross_corpus: bool = False,
    margins: Mapping[str, float | None] | None = None,
    margins_from: str = "given",
    minimums: Minimums | None = None,
    speaker_draws: bool = False,
    suite: str | None = None,
    systems: Mapping[str, tuple[str, ...]] | None = None,
    training: str | None = None,
    keep_dimension_order: bool = False,
    beam_options: Sequence[str] = (),
    provenance: Mapping[str, object] | None = None,
) -> AuditSummary:
    """Audit the predictions of runs against the truth in the metadata.

    An audit that is complete is not made again, if nothing changed that it depends on.

    Args:
        runs: folders of `serval score`, or files of predictions of any other tool.
        metadata_uri: manifest, or table with `segment_id`.
        output: folder to write.
        slices: metadata columns to slice by, alone or crossed; None for DEFAULT_SLICES.
        strata: columns to slice by without comparing the slices.
        seed: of the bootstrap, and of permutations.
        truth_range: scale of the truth.
        num_replicates: of the bootstrap, and of permutations.
        prediction_range: scale of the predictions.
        cross_corpus: whether the truth is of another corpus than the models were trained on.
        margins: largest gap that passes, by metric, None in the place of a number tests it against
            0; None for the defaults.
        margins_from: "given" or "permutation".
        minimums: below them a slice is suppressed; None for the defaults.
        speaker_draws: whether the papers' figure on speakers is wanted.
        suite: whose tests are judged; None for none.
        systems: model versions by the name of the system whose runs they are.
        training: manifest that the models were trained on, to count its speakers.
        keep_dimension_order: whether dimensions that seem permuted are audited as they are.
        beam_options: options of Beam, as on its command line.
        provenance: what audit.json is to say besides, for example of the corpus.

    Raises:
        RunError: a run is absent or incomplete, the folder holds another audit, the join leaves
            nothing to audit, or dimensions seem permuted.
        ManifestError: the metadata cannot be used.
        ConfigError: a column to slice by does not exist, or an option is out of range.
    """
    audited = [find_run(uri) for uri in runs]
    metadata_sha256 = _metadata_sha256(metadata_uri)
    trained = None if training is None else read_training(training)
    options = AuditConfig(
        strata=tuple(strata),
        seed=seed,
        num_replicates=num_replicates,
        truth_range=truth_range,
        prediction_range=prediction_range,
        cross_corpus=cross_corpus,
        margins=dict(default_margins(cross_corpus) if margins is None else margins),
        margins_from=margins_from,
        minimums=minimums or Minimums(),
        speaker_draws=speaker_draws,
        suite=suite,
        systems=dict(systems or {}),
        training_speakers=None if trained is None else trained.speaker_ids,
        keep_dimension_order=keep_dimension_order,
    )
    identity = {
        **options.to_json(),
        "slices": None if slices is None else [",".join(slice_by) for slice_by in slices],
        "seed": seed,
        "num_replicates": num_replicates,
        "metadata_sha256": metadata_sha256,
        "training_sha256": None if trained is None else trained.sha256,
        "predictions": sorted(
            (run.sha256, run.model_version or storage.name(run.uri)) for run in audited
        ),
        "code_version": version("serval"),
    }
    inputs_sha256 = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    done = _find_audit(output, inputs_sha256)
    if done is not None:
        logger.info("audit: %s is complete already", output)
        return done
    columns = metadata_columns(metadata_uri)
    chosen = _choose_slices(metadata_uri, columns, slices)
    strata = _choose_slices(metadata_uri, columns, strata)
    config = replace(
        options,
        slices=chosen,
        strata=tuple(by for by in strata if by not in chosen),
        groupings=() if suite is None else _find_groupings(metadata_uri, truth_range),
    )
    logger.info("audit: joining %d runs with %s", len(audited), metadata_uri)

    from pipelines.audit import audit
    from pipelines.transforms.reading import check_metadata

    check_metadata(metadata_uri, (*config.slices, *config.strata), truth_range)

    return audit(
        _prediction_files(audited),
        metadata_uri,
        output,
        config=config,
        beam_options=beam_options,
        provenance={
            **(provenance or {}),
            "inputs_sha256": inputs_sha256,
            "code_version": version("serval"),
            "runs": [run.about for run in audited],
            "metadata": {"uri": metadata_uri, "sha256": metadata_sha256},
            "training": None if trained is None else trained.about(),
        },
    )


def parse_slice(text: str) -> tuple[str, ...]:
    """Read COL or COL,COL.

    >>> parse_slice("sex,accent")
    ('sex', 'accent')

    Raises:
        ConfigError: a column has no name or stands there twice.
    """
    columns = tuple(column.strip() for column in text.split(","))
    if not all(columns) or len(set(columns)) < len(columns):
        raise ConfigError(f"--slice {text!r} is not COLUMN or COLUMN,COLUMN")
    return columns


def default_margins(cross_corpus: bool) -> Mapping[str, float | None]:
    """Return the margins where none are given."""
    return CROSS_CORPUS_MARGINS if cross_corpus else DEFAULT_MARGINS


def parse_margins(texts: Sequence[str], *, cross_corpus: bool = False) -> dict[str, float | None]:
    """Read METRIC=VALUE or METRIC=none, on top of the default margins.

    >>> margins = parse_margins(["concordance_cc=.05", "bias=.075", "recall=none"])
    >>> margins["concordance_cc"], margins["bias"], margins["recall"]
    (0.05, 0.075, None)

    Raises:
        ConfigError: a text is something else.
    """
    margins = dict(default_margins(cross_corpus))
    for text in texts:
        metric, _, value = (part.strip() for part in text.partition("="))
        try:
            margins[metric] = None if value == "none" else float(value)
        except ValueError as error:
            raise ConfigError(f"--margin {text!r} is not METRIC=VALUE or METRIC=none") from error
    return margins


def _prediction_files(audited: Sequence[FoundRun]) -> list[PredictionFile]:
    """Name the models: by version, or by URI where two models have the same version."""
    from pipelines.transforms.reading import PredictionFile

    models: dict[str, set[tuple[str, str]]] = {}
    for run in audited:
        if run.model is not None and run.model_version is not None:
            models.setdefault(run.model_version, set()).add(run.model)
    files = []
    for run in audited:
        name = run.model_version
        if name is not None and run.model is not None and len(models[name]) > 1:
            name = run.model[0]
            if sum(model[0] == name for model in models[str(run.model_version)]) > 1:
                raise RunError(
                    f"{run.uri}: two models with different weights are both called {name}; "
                    "audit them apart"
                )
        has_embeddings = run.has_embeddings()
        files += [
            PredictionFile(uri=file, model_version=name, has_embeddings=has_embeddings)
            for file in run.files
        ]
    return files


def _choose_slices(
    metadata_uri: str, columns: Sequence[str], slices: Sequence[tuple[str, ...]] | None
) -> tuple[tuple[str, ...], ...]:
    if slices is None:
        return tuple((column,) for column in DEFAULT_SLICES if column in columns)
    for column in (column for slice_by in slices for column in slice_by):
        if column not in columns:
            raise ConfigError(
                f"cannot slice by {column!r}: {metadata_uri} has the columns {', '.join(columns)}"
            )
    return tuple(dict.fromkeys(tuple(slice_by) for slice_by in slices))


def _find_groupings(metadata_uri: str, truth_range: tuple[float, float]) -> tuple[str, ...]:
    from pipelines.transforms.suite_columns import find_groupings
    from ser_model.manifest import read_metadata

    return find_groupings(metadata_uri, read_metadata(metadata_uri, truth_range=truth_range))


def _find_audit(output: str, inputs_sha256: str) -> AuditSummary | None:
    found = find_finished(
        storage.join(output, AUDIT_FILE),
        inputs_sha256,
        of_others="an audit of other runs, metadata or options",
    )
    if found is None:
        return None
    statistics = storage.read_table(storage.join(output, "statistics.parquet"))
    return AuditSummary(output=output, audit=found, statistics=statistics)


def _metadata_sha256(uri: str) -> str:
    try:
        return file_sha256(uri)
    except RunError as error:
        raise ManifestError(str(error)) from error
