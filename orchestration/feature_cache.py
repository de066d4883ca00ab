"""Features by the content of waveforms, kept in a file: openSMILE takes a second for 20 of audio.

    FOLDER/features.parquet     waveform_sha256, features; feature set and openSMILE in its metadata

A killed training finds there what it had computed. The file may be copied into the folder of
another training: only waveforms with the same samples take their features from it.
"""

from __future__ import annotations

import hashlib
import logging
from importlib.metadata import version
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from ser_model import storage
from ser_model.models.egemaps import (
    MIN_SAMPLES,
    NUM_FEATURES,
    EgemapsConfig,
    check_opensmile,
    functionals,
)

logger = logging.getLogger(__name__)

FILE_NAME = "features.parquet"
SAVE_EVERY = 500
"""New features that a kill may cost: some 100 s of work."""


class FeatureCache:
    """Prepares segments for a model of functionals, as its backbone does, from what is known.

    Attributes:
        min_samples: shortest waveform that has functionals.
        num_computed: features that were not known before.
    """

    min_samples = MIN_SAMPLES

    def __init__(self, folder: str, config: EgemapsConfig) -> None:
        """Read what an earlier training left in the folder.

        Raises:
            ConfigError: openSMILE is not installed.
        """
        check_opensmile()
        self._uri = storage.join(folder, FILE_NAME)
        self._made_by = {
            b"feature_set": config.feature_set.encode(),
            b"opensmile": version("opensmile").encode(),
        }
        self._known = self._read()
        self._num_unsaved = 0
        self.num_computed = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Save what is not saved yet, also where something went wrong."""
        self.save()

    def prepare(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return features_B1D and num_frames_B, as `Egemaps.prepare` does."""
        rows = zip(waveform_BN.numpy(), num_samples_B.tolist(), strict=True)
        features_BD = np.stack([self._features(row_N[:length]) for row_N, length in rows])
        return torch.from_numpy(features_BD)[:, None], torch.ones_like(num_samples_B)

    def save(self) -> None:
        """Write the file, if there is anything new."""
        if not self._num_unsaved:
            return
        flat = np.concatenate(list(self._known.values()))
        table = pa.table(
            {
                "waveform_sha256": pa.array(list(self._known)),
                "features": pa.FixedSizeListArray.from_arrays(pa.array(flat), NUM_FEATURES),
            }
        )
        storage.write_table(self._uri, table.replace_schema_metadata(self._made_by))
        self._num_unsaved = 0

    def _features(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        sha256 = hashlib.sha256(waveform.tobytes()).hexdigest()
        if sha256 not in self._known:
            self._known[sha256] = functionals(waveform)
            self.num_computed += 1
            self._num_unsaved += 1
            if self._num_unsaved >= SAVE_EVERY:
                self.save()
        return self._known[sha256]

    def _read(self) -> dict[str, npt.NDArray[np.float32]]:
        try:
            table = storage.read_table(self._uri)
            made_by = table.schema.metadata or {}
            if any(made_by.get(key) != value for key, value in self._made_by.items()):
                logger.warning("%s is of another openSMILE; it is made anew", self._uri)
                return {}
            values = table["features"].combine_chunks().flatten().to_numpy()
            features_ND = values.reshape(len(table), NUM_FEATURES)
            return dict(zip(table["waveform_sha256"].to_pylist(), features_ND, strict=True))
        except FileNotFoundError:
            return {}
        except (pa.ArrowException, KeyError, ValueError):
            logger.warning("%s cannot be read; it is made anew", self._uri)
            return {}
