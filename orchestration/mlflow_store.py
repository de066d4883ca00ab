"""MLflow, opened quietly: the store of training runs, model versions and their aliases.

MLflow's own environment variables choose the tracking server. Without them everything is in the
working folder: `mlflow.db` (SQLite), and the files in `mlartifacts/` beside it.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ser_model import storage
from ser_model.models.base import Scorer

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
EXPERIMENT = "serval"
FLAVOR = "serval"
SIGNAL_INPUT, TRANSCRIPT_INPUT = "signal", "transcript"
"""Inputs, by name, of MLflow models that read; those that only hear have one without name."""

PARENT_TAG = "mlflow.parentRunId"
SERVER_SCHEME = "mlflow-artifacts:"
"""Artifacts that a tracking server hands out itself; only MLflow can fetch them."""

TRAINING_RECORD = "train.json"
"""What `serval train` writes beside a model: recipe, data, history. It goes with the model."""


def tracking_uri() -> str:
    """Return where MLflow keeps its store; a default for this working folder."""
    uri = os.environ.get(TRACKING_VARIABLE, DEFAULT_TRACKING_URI)
    path = _sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path.absolute()}"


def exists() -> bool:
    """Tell whether there is a store, so that one need not be made to find nothing in it."""
    path = _sqlite_path(tracking_uri())
    return path is None or path.exists()


def shown_uri() -> str:
    """Return the tracking URI for people: without user and password."""
    return re.sub(r"//[^/@]*@", "//", tracking_uri())


def open_client() -> MlflowClient:
    """Open the store. The first time takes seconds: MLflow is imported, and makes its tables."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent anywhere unasked
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    path = _sqlite_path(tracking_uri())
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_store(path)
    return MlflowClient(tracking_uri())


def _make_store(path: Path) -> None:
    """Put a new store in its place in one piece.

    MLflow makes its tables one by one, over seconds, and cannot open a store that has only some of
    them: a process that dies meanwhile would leave one that nobody can use any more.
    """
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        MlflowClient(f"sqlite:///{made}").search_experiments(max_results=1)
        storage.create_if_absent(str(path), made.read_bytes())


def begin_run(
    client: MlflowClient,
    *,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
    parent_id: str | None = None,
) -> str:
    """Begin an MLflow run; it shows as running until `end_run`.

    Args:
        client: the store.
        name: of the run.
        params: by name; nested ones come with dotted names.
        tags: by name.
        parent_id: the run that this one is shown below.

    Returns:
        The run's id.
    """
    from mlflow.entities import Param

    parent = {} if parent_id is None else {PARENT_TAG: parent_id}
    run = client.create_run(
        _experiment(client).experiment_id, run_name=name, tags={**tags, **parent}
    )
    run_id: str = run.info.run_id
    entries = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(entries), 100):  # MLflow takes no more at a time
        client.log_batch(run_id, params=entries[start : start + 100])
    return run_id


def resume_run(client: MlflowClient, run_id: str) -> bool:
    """Go on with a run; False where this store does not have it."""
    from mlflow.exceptions import MlflowException

    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException:
        return False
    return True


def log_metrics(
    client: MlflowClient, run_id: str, values: Mapping[str, float], *, step: int
) -> None:
    """Add a point to the curves of a run."""
    from mlflow.entities import Metric

    now_ms = time.time_ns() // 1_000_000
    metrics = [Metric(name, value, now_ms, step) for name, value in values.items()]
    client.log_batch(run_id, metrics=metrics)


def last_step(client: MlflowClient, run_id: str, metric: str) -> int:
    """Return the step of the last point of a curve; 0 where there is none."""
    return max((point.step for point in client.get_metric_history(run_id, metric)), default=0)


def log_files(client: MlflowClient, run_id: str, files: Mapping[str, bytes]) -> None:
    """Store files with a run; names may have folders, "corpus/report.html"."""
    with tempfile.TemporaryDirectory() as temporary:
        for name, data in files.items():
            path = Path(temporary, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        client.log_artifacts(run_id, temporary)


def end_run(client: MlflowClient, run_id: str, *, failed: bool = False) -> None:
    """End a run."""
    client.set_terminated(run_id, "FAILED" if failed else "FINISHED")


def run_address(client: MlflowClient, run_id: str) -> str:
    """Return the page of a run where a server shows it, else runs:/ID."""
    server = _server()
    experiment_id = client.get_run(run_id).info.experiment_id
    return f"{server}/#/experiments/{experiment_id}/runs/{run_id}" if server else f"runs:/{run_id}"


def version_address(uri: str) -> str:
    """Return the page of models:/NAME/VERSION where a server shows it, else the URI."""
    server = _server()
    _, _, name_and_version = uri.partition(":/")
    name, _, version = name_and_version.partition("/")
    return f"{server}/#/models/{name}/versions/{version}" if server else uri


def _server() -> str | None:
    """Return the address of the tracking server, without user and password; None for a file."""
    uri = shown_uri()
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else None


def log_model(
    client: MlflowClient,
    model: Scorer,
    save: Callable[[str], None],
    folder: str,
    *,
    name: str,
    run_id: str | None,
) -> tuple[str, str]:
    """Store a model as an MLflow model: with signature and example, and without pickle.

    Args:
        client: the store.
        model: what to store.
        save: writes it into a local folder.
        folder: that it is from; a training's record in it is stored too.
        name: for people.
        run_id: the run that it came from.

    Returns:
        MLflow's id of the model, and the URI of its folder.
    """
    logged = client.create_logged_model(
        _experiment(client).experiment_id, name=name, source_run_id=run_id, model_type=FLAVOR
    )
    with tempfile.TemporaryDirectory() as temporary:
        save(temporary)
        record = storage.join(folder, TRAINING_RECORD)
        if storage.exists(record):
            Path(temporary, TRAINING_RECORD).write_bytes(storage.read_bytes(record))
        _describe(model, temporary, run_id=run_id, model_id=logged.model_id)
        client.log_model_artifacts(logged.model_id, temporary)
    client.finalize_logged_model(logged.model_id, "READY")
    return logged.model_id, logged.artifact_location


@contextmanager
def readable(location: str) -> Iterator[str]:
    """Yield a folder that `ser_model.storage` reads; fetch it where only MLflow knows how."""
    if not location.startswith(SERVER_SCHEME):
        yield location
        return
    open_client()
    import mlflow.artifacts

    with tempfile.TemporaryDirectory() as temporary:
        yield mlflow.artifacts.download_artifacts(
            artifact_uri=location, dst_path=temporary, tracking_uri=tracking_uri()
        )


def _experiment(client: MlflowClient) -> Experiment:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        path = _sqlite_path(tracking_uri())
        location = None if path is None else str(path.parent.absolute() / "mlartifacts")
        experiment = client.get_experiment(client.create_experiment(EXPERIMENT, location))
    return experiment


def _describe(model: Scorer, folder: str, *, run_id: str | None, model_id: str) -> None:
    """Write what makes a folder an MLflow model: MLmodel and input_example.json."""
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    description = Model(run_id=run_id, model_id=model_id, model_uuid=model_id)
    number = np.dtype(np.float32)
    inputs: list[ColSpec | TensorSpec] = [TensorSpec(number, (-1, -1))]
    example: object = [[0.0] * model.min_samples]
    if model.uses_text:
        inputs = [
            TensorSpec(number, (-1, -1), SIGNAL_INPUT),
            TensorSpec(np.dtype(object), (-1,), TRANSCRIPT_INPUT),
        ]
        example = {SIGNAL_INPUT: example, TRANSCRIPT_INPUT: ["so it is"]}
    description.signature = ModelSignature(
        inputs=Schema(inputs),
        outputs=Schema([TensorSpec(number, (-1, len(model.targets)))]),
    )
    Path(folder, "input_example.json").write_text(json.dumps(example), encoding="utf-8")
    description.saved_input_example_info = {
        "artifact_path": "input_example.json",
        "type": "ndarray",
    }
    description.add_flavor(FLAVOR, task=model.task, targets=list(model.targets))
    # What mlflow.pyfunc.add_to_model writes, without the second that its import takes.
    description.add_flavor(
        "python_function",
        loader_module="orchestration.mlflow_flavor",
        python_version=platform.python_version(),
    )
    description.save(str(Path(folder, "MLmodel")))


def _sqlite_path(uri: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None
