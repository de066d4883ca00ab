"""Transcripts of Whisper, around the library's model.

Radford et al., "Robust speech recognition via large-scale weak supervision", 2023. A segment is
padded with silence to 30 s, as in training there; a longer one is cut into pieces of 30 s that do
not see each other, and their transcripts are joined. Greedy: the most probable token each time, no
timestamps; models of many languages find out the language of each piece, and never translate.

Shapes: B batch, N samples, P pieces of 30 s, M mel bands, T frames, L tokens.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from ser_model.models.checkpoint import Checkpoint, fit
from ser_model.models.checkpoint_files import fingerprint, local_files
from ser_model.models.whisper_logmel import WINDOW_SAMPLES, WhisperLogmel, cut_pieces
from ser_model.schema import ModelError

TOKENISER_FILES = (
    *("tokenizer.json", "vocab.json", "merges.txt", "normalizer.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
)
GENERATION_FILE = "generation_config.json"
PIECES_AT_A_TIME = 16
"""However short segments are, each is 30 s inside: this bounds the memory of a batch of many."""


class WhisperTranscriber(nn.Module):
    """Waveforms to transcripts, without the blanks that tokens begin with.

    Attributes:
        min_samples: one window of the spectrogram.
        padding_free: rows of any lengths may go together: all are padded to 30 s.
        weights_sha256: hash of configuration, weights and tokeniser.
    """

    min_samples = WINDOW_SAMPLES
    padding_free = True

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Build the model of a checkpoint.

        Raises:
            ModelError: a file is no good, or a weight is missing.
        """
        super().__init__()
        with local_files(checkpoint, (*TOKENISER_FILES, GENERATION_FILE)) as (folder, files):
            self._tokeniser = _tokeniser(checkpoint, folder, files)
        self.model = _model(checkpoint, files.get(GENERATION_FILE))
        self.logmel = WhisperLogmel(self.model.config.num_mel_bins)
        self.weights_sha256 = fingerprint(checkpoint, files)

    def forward(self, waveform_BN: Tensor, num_samples_B: Tensor) -> list[str]:
        """Transcribe a batch.

        Args:
            waveform_BN: float32 samples at 16 kHz, rows padded to the same length.
            num_samples_B: int64, the true length of each row, at least `min_samples`.
        """
        pieces, piece_rows = cut_pieces(waveform_BN, num_samples_B)
        texts: list[list[str]] = [[] for _ in range(len(waveform_BN))]
        for begin in range(0, len(pieces), PIECES_AT_A_TIME):
            logmel_PMT = self.logmel(pieces[begin : begin + PIECES_AT_A_TIME])
            tokens_PL = self.model.generate(
                logmel_PMT.to(self.model.dtype),
                attention_mask=torch.ones(
                    (len(logmel_PMT), logmel_PMT.shape[2]), device=logmel_PMT.device
                ),
            )
            said = self._tokeniser.batch_decode(tokens_PL.tolist(), skip_special_tokens=True)
            for row, text in zip(piece_rows[begin:], said, strict=False):
                texts[row].append(text.strip())
        return [" ".join(filter(None, of_row)) for of_row in texts]


def _model(checkpoint: Checkpoint, generation: bytes | None) -> Any:  # noqa: ANN401  the library's, without a useful type
    """Return the library's model with a checkpoint's weights."""
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    try:
        # Weights are float32, in whatever dtype they are stored.
        stored = ("dtype", "torch_dtype")
        config = WhisperConfig.from_dict(
            {name: value for name, value in checkpoint.config.items() if name not in stored}
        )
        config._attn_implementation = "sdpa"
        model: Any = WhisperForConditionalGeneration(config)
        chosen: Any = GenerationConfig.from_dict(
            {} if generation is None else json.loads(generation)
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{checkpoint.source} is no Whisper model: {error}") from error
    expected = model.state_dict()
    if config.tie_word_embeddings:
        expected.pop("proj_out.weight")  # the same as the embeddings of tokens
    weights, _ = fit(checkpoint, expected, probe="model.encoder.conv1.weight")
    model.load_state_dict({**model.state_dict(), **weights})
    model.tie_weights()
    chosen.max_length = config.max_target_positions
    chosen.num_beams, chosen.do_sample, chosen.return_timestamps = 1, False, False
    chosen.forced_decoder_ids = None  # how older files said what `task` says
    if getattr(chosen, "is_multilingual", False):
        chosen.task = "transcribe"
    model.generation_config = chosen
    return model


def _tokeniser(checkpoint: Checkpoint, folder: str, files: dict[str, bytes]) -> Any:  # noqa: ANN401  the same
    from transformers import WhisperTokenizer

    if not {"tokenizer.json"} & set(files) and not {"vocab.json", "merges.txt"} <= set(files):
        raise ModelError(
            f"{checkpoint.source} has no tokeniser: neither tokenizer.json nor vocab.json and "
            "merges.txt"
        )
    try:
        return WhisperTokenizer.from_pretrained(folder)
    except Exception as error:  # tokenizers raises bare Exceptions of what it cannot parse
        raise ModelError(f"the tokeniser of {checkpoint.source} cannot be read: {error}") from error
