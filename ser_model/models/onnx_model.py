"""Models that are ONNX files, scored by onnxruntime: Serval's own exports and others like them.

Shapes: B batch, I inputs, N samples, L tokens, D hidden features, K scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from ser_model import storage
from ser_model.models.base import ModelConfig, ModelOutput, Task
from ser_model.models.configuration import build
from ser_model.models.onnx_export import (
    CONFIG_KEY,
    EMBEDDING_NAME,
    MAX_ONNX_BYTES,
    MIN_SAMPLES_KEY,
    SCORES_NAME,
    SIGNAL_NAME,
    TARGETS_KEY,
    TASK_KEY,
    TOKENISER_KEY,
    TOKENS_NAME,
    require_onnx,
)
from ser_model.models.tokeniser import MAX_TOKENISER_BYTES, Tokeniser
from ser_model.schema import DIMENSIONS, ConfigError, ModelError

ONNX_SCHEME = "onnx:"

FOREIGN_MIN_SAMPLES = 400
"""What a file of others is taken to need: the window of wav2vec 2.0's convolutions."""


class OnnxModel:
    """An ONNX file as a model. Rows of equal lengths are scored together, as it knows no padding.

    Attributes:
        task: dimensions or emotion; of a file from elsewhere, dimensions.
        targets: what the scores mean, in their order.
        min_samples: shortest waveform that can be scored, in samples at 16 kHz.
        padding_free: whether it does not hear; else a batch is best made of about equal lengths.
        uses_text: whether it reads transcripts.
        needs_transcript: whether a segment without transcript cannot be scored.
        config: of the model that was exported, where that reads; else None, as nothing needs it.
        weights_sha256: of the file.
    """

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
        inputs = {item.name: item.shape for item in self._session.get_inputs()}
        self.uses_text = TOKENS_NAME in inputs
        self.config = _read_config(metadata, source) if self.uses_text else None
        self.needs_transcript = self.config is not None and self.config.needs_transcript
        self._tokeniser = _read_tokeniser(metadata, self.config, source)
        # Files from elsewhere may give the signal any name.
        self._signal_name = next((name for name in inputs if name != TOKENS_NAME), None)
        self.padding_free = self._signal_name is None
        # Some exporters fix the batch at one row.
        num_rows = next(iter(inputs.values()))[0]
        self._max_rows = num_rows if isinstance(num_rows, int) else None
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
        self, waveform_BN: Tensor, num_samples_B: Tensor, transcripts: Sequence[str] | None = None
    ) -> ModelOutput:
        """Score a batch in float32.

        Args:
            waveform_BN: float32 samples at 16 kHz, rows padded to the same length.
            num_samples_B: int64, the true length of each row, at least `min_samples`.
            transcripts: of the rows; a file that does not read does not look at them.

        Raises:
            ConfigError: the caller asks for bfloat16.
            ValueError: the file reads text, and there are no transcripts.
        """
        if torch.is_autocast_enabled(waveform_BN.device.type):
            raise ConfigError("ONNX files are scored in float32 alone; give --dtype float32")
        inputs: dict[str, Tensor] = {}
        lengths: list[Tensor] = []
        if self._signal_name is not None:
            inputs[self._signal_name] = waveform_BN.cpu()
            lengths.append(num_samples_B.cpu())
        if self._tokeniser is not None:
            if transcripts is None:
                raise ValueError("the model reads text: give a transcript for each row")
            tokens = self._tokeniser(transcripts)
            inputs[TOKENS_NAME] = tokens.ids
            lengths.append(tokens.is_token.sum(dim=1))
        return self._run_by_lengths(inputs, torch.stack(lengths, dim=1))

    def _run_by_lengths(self, inputs: Mapping[str, Tensor], length_BI: Tensor) -> ModelOutput:
        scores: dict[int, Tensor] = {}
        embeddings: dict[int, Tensor] = {}
        for length_I in torch.unique(length_BI, dim=0):
            places = torch.nonzero((length_BI == length_I).all(dim=1))[:, 0]
            for rows in torch.split(places, self._max_rows or len(places)):
                named = zip(inputs.items(), length_I.tolist(), strict=True)
                output = self._run({name: tensor[rows, :n] for (name, tensor), n in named})
                scores.update(zip(rows.tolist(), output.scores, strict=True))
                embeddings.update(zip(rows.tolist(), output.embedding, strict=True))
        order = range(len(length_BI))
        return ModelOutput(
            scores=torch.stack([scores[row] for row in order]),
            embedding=torch.stack([embeddings[row] for row in order]),
        )

    def _run(self, inputs: Mapping[str, Tensor]) -> ModelOutput:
        try:
            embedding_BD, scores_BK = self._session.run(
                [EMBEDDING_NAME, SCORES_NAME],
                {name: tensor.numpy() for name, tensor in inputs.items()},
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
    is_tokens = [item.name == TOKENS_NAME for item in inputs]
    fits = is_tokens in ([False], [False, True], [True]) and all(
        len(item.shape) == 2 and item.type == f"tensor({'int64' if tokens else 'float'})"
        for item, tokens in zip(inputs, is_tokens, strict=True)
    )
    if not fits or not {EMBEDDING_NAME, SCORES_NAME} <= set(outputs):
        raise ModelError(
            f"{source} must have the input {SIGNAL_NAME} (float32 [batch, time]), {TOKENS_NAME} "
            f"(int64 [batch, tokens]) or both, and the outputs {EMBEDDING_NAME} and {SCORES_NAME}; "
            f"it has {', '.join(i.name for i in inputs)} and {', '.join(outputs)}"
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


def _read_config(metadata: Mapping[str, str], source: str) -> ModelConfig:
    """Return the configuration of a model that reads."""
    try:
        config = build(ModelConfig, json.loads(metadata[CONFIG_KEY]))
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"{source} reads {TOKENS_NAME}, and its metadata do not say by which model of this "
            f"version: {error!r}; export the model again"
        ) from error
    if config.text is None:
        raise ModelError(f"{source} reads {TOKENS_NAME}, but the model in its metadata does not")
    return config


def _read_tokeniser(
    metadata: Mapping[str, str], config: ModelConfig | None, source: str
) -> Tokeniser | None:
    if config is None or config.text is None:
        return None
    data = metadata.get(TOKENISER_KEY, "").encode()
    if len(data) > MAX_TOKENISER_BYTES:
        raise ModelError(f"{source}: its tokeniser has over {MAX_TOKENISER_BYTES} bytes")
    if hashlib.sha256(data).hexdigest() != config.text.tokeniser_sha256:
        raise ModelError(f"{source}: its metadata have no tokeniser, or not the model's own")
    return Tokeniser(data, max_tokens=config.text.max_tokens, source=source)
