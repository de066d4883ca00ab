"""The segments of a training as functionals: from a file where they are known, and normalised."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch

from orchestration.feature_cache import FeatureCache
from orchestration.training_corpus import Corpus, read_corpus
from ser_model.models.egemaps import EgemapsConfig
from ser_model.schema import ManifestError
from ser_model.training.examples import InputStore
from ser_model.training.support_vector_recipe import SupportVectorRecipe
from ser_model.training.support_vectors import normalise_speakers

logger = logging.getLogger(__name__)


def read_features(
    recipe: SupportVectorRecipe, table: pa.Table, store: InputStore, folder: str
) -> Corpus:
    """Read segments as `read_corpus` does, with functionals for inputs.

    Args:
        recipe: how the model is made.
        table: a manifest with splits.
        store: keeps the inputs.
        folder: of the training; what was computed stays there.

    Raises:
        ConfigError: openSMILE is not installed.
        ManifestError: there is no truth for the task, or a speaker is to be normalised and unknown.
        TooManyRejectedError: too many segments cannot be read.
    """
    with FeatureCache(folder, EgemapsConfig(feature_set=recipe.feature_set)) as cache:
        corpus = read_corpus(recipe, table, store, cache)
        logger.info("functionals: %d computed, the others known", cache.num_computed)
    if not recipe.speaker_normalisation:
        return corpus
    speakers = zip(table["segment_id"].to_pylist(), table["speaker_id"].to_pylist(), strict=True)
    return _normalised(corpus, dict(speakers))


def _normalised(corpus: Corpus, speaker_of: Mapping[str, str | None]) -> Corpus:
    """Standardise each speaker's functionals, over all segments that were read of that speaker."""
    speakers = []
    for segment_id in corpus.inputs:
        speaker = speaker_of[segment_id]
        if speaker is None:
            raise ManifestError(f"segment {segment_id!r} has no speaker_id to normalise by")
        speakers.append(speaker)
    rows = [
        inputs if isinstance(inputs, torch.Tensor) else inputs.read()
        for inputs in corpus.inputs.values()
    ]
    features_ND = normalise_speakers(np.stack([row[0].numpy() for row in rows]), speakers)
    inputs = zip(corpus.inputs, torch.from_numpy(features_ND)[:, None], strict=True)
    return dataclasses.replace(corpus, inputs=dict(inputs))
