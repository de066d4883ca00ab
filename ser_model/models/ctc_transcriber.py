"""Transcripts of CTC models: wav2vec 2.0, HuBERT, UniSpeech and WavLM with a letter for each frame.

Baevski et al., "wav2vec 2.0", 2020, section 3.3: a linear layer over the backbone's frames. Greedy
decoding: the most probable token of each frame, repetitions taken together, blanks left out
(Graves et al., "Connectionist temporal classification", 2006, section 3.2). The backbone is the one
that emotion models have, so that a transcript does not depend on what shares its batch.

Shapes: B batch, N samples, T frames, D hidden features.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ser_model.models.checkpoint import Checkpoint
from ser_model.models.checkpoint_files import fingerprint, local_files
from ser_model.models.pretrained import architecture_of, load_weights
from ser_model.models.speech_transformer import SpeechTransformer
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.schema import ModelError

TOKENISER_FILES = (
    *("vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
)
_HEAD = "lm_head."


class CtcTranscriber(nn.Module):
    """Waveforms to transcripts, as the model's own letters spell them.

    Attributes:
        min_samples: shortest waveform that gives a frame.
        padding_free: whether rows of any lengths may go together without waste.
        weights_sha256: hash of configuration, weights and tokeniser.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Build the model of a checkpoint.

        Raises:
            ModelError: it is of no family that is built here, or lacks a weight or its vocabulary.
        """
        super().__init__()
        config = architecture_of(checkpoint)
        if not isinstance(config, SpeechTransformerConfig):
            raise ModelError(f"{checkpoint.source} is no CTC model that is built here")
        # Without SpecAugment's frame: only training uses it, and not every checkpoint has it.
        self.backbone = SpeechTransformer(dataclasses.replace(config, mask_time_prob=0.0))
        load_weights(self.backbone, checkpoint)
        self.head = _head(checkpoint, num_in=config.hidden_size)
        self._tokeniser, files = _tokeniser(checkpoint)
        self.min_samples = self.backbone.min_samples
        self.padding_free = self.backbone.padding_free
        self.weights_sha256 = fingerprint(checkpoint, files)

    def forward(self, waveform_BN: Tensor, num_samples_B: Tensor) -> list[str]:
        """Transcribe a batch.

        Args:
            waveform_BN: float32 samples at 16 kHz, rows padded to the same length.
            num_samples_B: int64, the true length of each row, at least `min_samples`.
        """
        inputs_BN, num_inputs_B = self.backbone.prepare(waveform_BN, num_samples_B)
        hidden_BTD, num_frames_B = self.backbone(inputs_BN, num_inputs_B)
        # Without autocast: which of two tokens is more probable may hang on the last bits.
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            tokens_BT = self.head(hidden_BTD.float()).argmax(dim=-1)
        rows = zip(tokens_BT.tolist(), num_frames_B.tolist(), strict=True)
        return [self._tokeniser.decode(tokens_T[:num_frames]) for tokens_T, num_frames in rows]


def _head(checkpoint: Checkpoint, *, num_in: int) -> nn.Linear:
    weights = {
        name: checkpoint.weights[_HEAD + name].float()
        for name in ("weight", "bias")
        if _HEAD + name in checkpoint.weights
    }
    if len(weights) < 2 or weights["weight"].ndim != 2:
        raise ModelError(f"{checkpoint.source} has no {_HEAD}weight and {_HEAD}bias to spell with")
    head = nn.Linear(num_in, len(weights["weight"]))
    try:
        head.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"the head of {checkpoint.source} does not fit: {error}") from error
    return head


def _tokeniser(checkpoint: Checkpoint) -> tuple[Any, dict[str, bytes]]:
    """Return the library's tokeniser, and the files that it was made of."""
    from transformers import Wav2Vec2CTCTokenizer

    with local_files(checkpoint, TOKENISER_FILES) as (folder, files):
        _check_vocabulary(checkpoint, files)
        try:
            tokeniser = Wav2Vec2CTCTokenizer.from_pretrained(folder)
        except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise ModelError(
                f"the tokeniser of {checkpoint.source} cannot be read: {error}"
            ) from error
    return tokeniser, files


def _check_vocabulary(checkpoint: Checkpoint, files: Mapping[str, bytes]) -> None:
    if "vocab.json" not in files:
        raise ModelError(f"{checkpoint.source} has no vocab.json, which its tokens stand in")
    try:
        vocabulary = json.loads(files["vocab.json"])
    except ValueError as error:
        raise ModelError(f"vocab.json of {checkpoint.source} cannot be read: {error}") from error
    if not isinstance(vocabulary, dict) or not all(isinstance(n, int) for n in vocabulary.values()):
        raise ModelError(
            f"vocab.json of {checkpoint.source} must give each token a number; vocabularies of "
            "several languages are not built"
        )
