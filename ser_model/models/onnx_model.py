"""Models that are ONNX files, scored by onnxruntime: Serval's own exports and others like them.

Shapes: B batch, N samples, D hidden features, K scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from ser_model import storage
from ser_model.models.base import ModelOutput, Task
from ser_model.models.onnx_export import (
    EMBEDDING_NAME,
    INPUT_NAME,
    MAX_ONNX_BYTES,
    MIN_SAMPLES_KEY,
    SCORES_NAME,
    TARGETS_KEY,
    TASK_KEY,
    require_onnx,
)
from ser_model.schema import DIMENSIONS, ConfigError, ModelError

ONNX_SCHEME = "onnx:"

FOREIGN_MIN_SAMPLES = 400
"""What a file of others is taken to need: the window of wav2vec 2.0's convolutions."""


class OnnxModel:
    """An ONNX file as a model. Rows of equal length are scored together, as it knows no padding.

    Attributes:
        task: dimensions or emotion; of a file from elsewhere, dimensions.
        targets: what the scores mean, in their order.
        min_samples: shortest waveform that can be scored, in samples at 16 kHz.
        padding_free: False: a batch is best made of about equal lengths.
        uses_text: False: such files hear alone.
        needs_transcript: False.
        weights_sha256: of the file.
    """

    padding_free = False
    uses_text = False
    needs_transcript = False

    def __init__(self, data: bytes, *, source: str) -> None:
        """Read a file's content.

        Args:
            data: the file.
            source: where it is from, for messages.

        Raises:
            ConfigError: the extra `onnx` is not installed.
            ModelError: it is no such model.
        """
        require_onnx()
        self._source = source
        self._data = data
        self._session = _open_session(data, source, "cpu")
        self.weights_sha256 = hashlib.sha256(data).hexdigest()
        _check_ends(self._session, source)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.task, self.targets, self.min_samples = _read_metadata(metadata, source)
        shape = self._session.get_inputs()[0].shape
        # Some exporters fix the batch at one row.
        self._max_rows = shape[0] if isinstance(shape[0], int) else None
        num_scores = _outputs(self._session)[SCORES_NAME][-1]
        if isinstance(num_scores, int) and num_scores != len(self.targets):
            raise ModelError(
                f"{source} has {num_scores} scores for {', '.join(self.targets)}; only files that "
                "Serval exported may have others than these"
            )

    def to(self, device: str) -> Self:
        """Move the model to cpu, cuda or cuda:1.

        Raises:
            ConfigError: the installed onnxruntime has no such device.
        """
        if torch.device(device).type != "cpu":
            self._session = _open_session(self._data, self._source, device)
        return self

    def eval(self) -> Self:
        """Return itself: a file is never in train mode."""
        return self

    def __call__(
        self,
        waveform_BN: Tensor,
        num_samples_B: Tensor,
        transcripts: Sequence[str] | None = None,  # noqa: ARG002  such files do not read
    ) -> ModelOutput:
        """Score a batch in float32.

        Args:
            waveform_BN: float32 samples at 16 kHz, rows padded to the same length.
            num_samples_B: int64, the true length of each row, at least `min_samples`.
            transcripts: not looked at.

        Raises:
            ConfigError: the caller asks for bfloat16.
        """
        if torch.is_autocast_enabled(waveform_BN.device.type):
            raise ConfigError("ONNX files are scored in float32 alone; give --dtype float32")
        waveform_BN = waveform_BN.cpu()
        scores: dict[int, Tensor] = {}
        embeddings: dict[int, Tensor] = {}
        for num_samples in sorted(set(num_samples_B.tolist())):
            places = torch.nonzero(num_samples_B.cpu() == num_samples)[:, 0]
            for rows in torch.split(places, self._max_rows or len(places)):
                output = self._run(waveform_BN[rows, :num_samples])
                scores.update(zip(rows.tolist(), output.scores, strict=True))
                embeddings.update(zip(rows.tolist(), output.embedding, strict=True))
        order = range(len(num_samples_B))
        return ModelOutput(
            scores=torch.stack([scores[row] for row in order]),
            embedding=torch.stack([embeddings[row] for row in order]),
        )

    def _run(self, waveform_BN: Tensor) -> ModelOutput:
        name = self._session.get_inputs()[0].name
        try:
            embedding_BD, scores_BK = self._session.run(
                [EMBEDDING_NAME, SCORES_NAME], {name: waveform_BN.numpy()}
            )
        except Exception as error:  # its classes are named after its error codes
            if any(sign in str(error) for sign in ("Failed to allocate", "bad_alloc")):
                raise MemoryError(str(error)) from error
            raise
        return ModelOutput(
            scores=torch.from_numpy(scores_BK), embedding=torch.from_numpy(embedding_BD)
        )


def load_onnx_model(uri: str) -> OnnxModel:
    """Read `onnx:FILE`.

    Raises:
        ConfigError: the extra `onnx` is not installed.
        ModelError: there is no such file, or it is no such model.
    """
    source = uri.removeprefix(ONNX_SCHEME)
    try:
        data = storage.read_bytes(source, max_bytes=MAX_ONNX_BYTES)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ModelError(f"{source} cannot be read ({reason})") from error
    return OnnxModel(data, source=source)


def _open_session(data: bytes, source: str, device: str) -> Any:  # noqa: ANN401  an untyped library
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # As torch does: workers share a machine, so each takes what it was given and never spins.
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    if torch.device(device).type == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ConfigError(
                "this onnxruntime has no CUDA; pip install onnxruntime-gpu in place of onnxruntime"
            )
        index = torch.device(device).index or 0
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": index}))
    try:
        return onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # its classes are named after its error codes
        words = str(error).partition("\n")[0]
        raise ModelError(f"{source} is no ONNX file that onnxruntime can run: {words}") from error


def _outputs(session: Any) -> dict[str, list[Any]]:  # noqa: ANN401  an untyped library
    return {output.name: output.shape for output in session.get_outputs()}


def _check_ends(session: Any, source: str) -> None:  # noqa: ANN401  an untyped library
    inputs, outputs = session.get_inputs(), _outputs(session)
    fits = len(inputs) == 1 and inputs[0].type == "tensor(float)" and len(inputs[0].shape) == 2
    if not fits or not {EMBEDDING_NAME, SCORES_NAME} <= set(outputs):
        raise ModelError(
            f"{source} must have one input ({INPUT_NAME}: float32 [batch, time]) and the outputs "
            f"{EMBEDDING_NAME} and {SCORES_NAME}; it has {', '.join(i.name for i in inputs)} and "
            f"{', '.join(outputs)}"
        )


def _read_metadata(metadata: dict[str, str], source: str) -> tuple[Task, tuple[str, ...], int]:
    """Return task, targets and min_samples."""
    if TASK_KEY not in metadata:
        return "dimensions", DIMENSIONS, FOREIGN_MIN_SAMPLES
    try:
        targets = tuple(json.loads(metadata[TARGETS_KEY]))
        min_samples = int(metadata[MIN_SAMPLES_KEY])
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{source}: its metadata are not Serval's: {error!r}") from error
    task = metadata[TASK_KEY]
    if task == "dimensions" and targets == DIMENSIONS:
        return "dimensions", targets, min_samples
    if task == "emotion" and len(targets) > 1 and all(isinstance(name, str) for name in targets):
        return "emotion", targets, min_samples
    raise ModelError(f"{source}: its metadata have no known task: {task!r} of {targets!r}")
