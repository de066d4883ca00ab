"""Models as ONNX files: one graph from samples and tokens to scores, for runtimes without torch.

Input `signal` [batch, time], float32 samples at 16 kHz, of a model that hears; input `token_ids`
[batch, tokens], int64, of one that reads; outputs `hidden_states` [batch, D], the pooled embedding,
and `logits` [batch, K], the scores. All but D and K are free, but all rows of a batch have the full
length: there is no mask for padding. Normalisation and spectrogram are part of the graph. What
Serval needs to score with the file, the tokeniser too, is in its metadata.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import Tensor

from ser_model.models.base import EmotionModel
from ser_model.models.onnx_graph import make_graph
from ser_model.models.text_transformer import TextTransformer
from ser_model.models.tokeniser import MAX_TOKENISER_BYTES
from ser_model.models.whisper_logmel import PIECE_SAMPLES
from ser_model.schema import ConfigError, ModelError

SIGNAL_NAME = "signal"
TOKENS_NAME = "token_ids"
EMBEDDING_NAME = "hidden_states"
SCORES_NAME = "logits"
OPSET = 18
MAX_ONNX_BYTES = (1 << 31) - 1
"""Protocol buffers, which the format is made of, end there."""

TASK_KEY = "serval.task"
TARGETS_KEY = "serval.targets"
MIN_SAMPLES_KEY = "serval.min_samples"
CONFIG_KEY = "serval.config"
TOKENISER_KEY = "serval.tokeniser"
"""The content of `tokenizer.json`; its SHA-256 and what else belongs to it is in CONFIG_KEY."""

_EXAMPLE_SIGNAL = (2, 2 * PIECE_SAMPLES + 12_345)
_EXAMPLE_TOKENS = (2, 7)
"""No size is 1, which the exporter would take for a constant: not even the number of pieces."""


def require_onnx() -> None:
    """Check that the packages of the extra `onnx` are here.

    Raises:
        ConfigError: one is not.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise ConfigError(f"{package} is not installed; pip install 'serval[onnx]'")


def export_onnx(model: EmotionModel) -> bytes:
    """Return the ONNX file of a model.

    Args:
        model: with a CNN14, speech transformer, Whisper or text backbone; in eval mode, on a CPU.

    Raises:
        ConfigError: the extra `onnx` is not installed.
        ModelError: the backbone cannot be exported, or the file would exceed MAX_ONNX_BYTES.
    """
    graph = make_graph(model)
    num_bytes = sum(4 * weight.numel() for weight in model.state_dict().values())
    if num_bytes > MAX_ONNX_BYTES:
        raise ModelError(f"the weights are {num_bytes / 1e9:.1f} GB; an ONNX file ends at 2 GB")
    metadata = _metadata(model)
    require_onnx()
    examples = _examples(model)
    dynamic = torch.export.Dim.DYNAMIC
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph,
            tuple(examples.values()),
            input_names=list(examples),
            output_names=[EMBEDDING_NAME, SCORES_NAME],
            dynamic_shapes=tuple({0: dynamic, 1: dynamic} for _ in examples),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "this exporter returns the program"
    program.model.metadata_props.update(metadata)
    data: bytes = program.model_proto.SerializeToString()
    return data


def _examples(model: EmotionModel) -> dict[str, Tensor]:
    """Return inputs by their names, in the order that the graph takes them."""
    examples = {}
    if not isinstance(model.backbone, TextTransformer):
        examples[SIGNAL_NAME] = torch.zeros(_EXAMPLE_SIGNAL)
    if model.uses_text:
        examples[TOKENS_NAME] = torch.zeros(_EXAMPLE_TOKENS, dtype=torch.int64)
    return examples


def _metadata(model: EmotionModel) -> dict[str, str]:
    metadata = {
        TASK_KEY: model.task,
        TARGETS_KEY: json.dumps(list(model.targets)),
        MIN_SAMPLES_KEY: str(model.min_samples),
        CONFIG_KEY: json.dumps(dataclasses.asdict(model.config), sort_keys=True),
    }
    if model.text is not None:
        tokeniser = model.text.tokeniser.data
        if len(tokeniser) > MAX_TOKENISER_BYTES:
            raise ModelError(
                f"the tokeniser is {len(tokeniser) / 1e6:.0f} MB; it may be "
                f"{MAX_TOKENISER_BYTES / 1e6:.0f}"
            )
        metadata[TOKENISER_KEY] = tokeniser.decode()
    return metadata


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter says of torch's own insides and of torchvision."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
