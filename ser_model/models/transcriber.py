"""What transcribing needs of a model, and the models that have it: CTC and Whisper."""

from __future__ import annotations

from typing import Protocol, Self

from torch import Tensor

from ser_model.models.checkpoint import Checkpoint, read_checkpoint
from ser_model.models.ctc_transcriber import CtcTranscriber
from ser_model.models.whisper_transcriber import WhisperTranscriber
from ser_model.schema import ModelError


class Transcriber(Protocol):
    """A model that says what was said.

    Attributes:
        min_samples: shortest waveform that can be transcribed, in samples at 16 kHz.
        padding_free: whether rows of any lengths may go together without waste.
        weights_sha256: hash of all that its transcripts depend on: configuration, weights and the
            files of its tokeniser.
    """

    min_samples: int
    padding_free: bool
    weights_sha256: str

    def to(self, device: str) -> Self:
        """Move the model to a device."""

    def eval(self) -> Self:
        """Make the model ready."""

    def __call__(self, waveform_BN: Tensor, num_samples_B: Tensor) -> list[str]:
        """Return the transcript of each row; it does not depend on the other rows."""


def load_transcriber(source: str) -> CtcTranscriber | WhisperTranscriber:
    """Load a model that transcribes, in eval mode.

    Args:
        source: a folder in the Hugging Face layout, or hf:ORG/NAME, with @REVISION behind it or
            not.

    Raises:
        ModelError: it cannot be read, transcribes nothing, is of no kind that is built here, or
            lacks a weight.
    """
    checkpoint = read_checkpoint(source)
    if checkpoint.config.get("model_type") == "whisper":
        return WhisperTranscriber(checkpoint).eval()
    if _is_ctc(checkpoint):
        return CtcTranscriber(checkpoint).eval()
    raise ModelError(
        f"{checkpoint.source} is no model that transcribes: it says that it is "
        f"{_named_architectures(checkpoint)}; known are ...ForCTC of wav2vec2, hubert, unispeech "
        "and wavlm, and WhisperForConditionalGeneration"
    )


def _is_ctc(checkpoint: Checkpoint) -> bool:
    architectures = checkpoint.config.get("architectures") or []
    return any(str(name).endswith("ForCTC") for name in architectures)


def _named_architectures(checkpoint: Checkpoint) -> str:
    architectures = checkpoint.config.get("architectures") or []
    return ", ".join(map(str, architectures)) or repr(checkpoint.config.get("model_type"))
