"""Transcripts to tokens: the tokeniser that is stored with a model that reads text.

It is a `tokenizer.json` of the library `tokenizers`: a pretrained checkpoint's own, or WordPiece
with a vocabulary that is made of the training transcripts.

Shapes: B batch, L tokens.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ser_model.schema import ModelError

logger = logging.getLogger(__name__)

TOKENISER_NAME = "tokenizer.json"
MAX_TOKENISER_BYTES = 1 << 26
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""BERT's, in the order that a new vocabulary begins with."""

_EVERY_CHARACTER = "abcdefghijklmnopqrstuvwxyz0123456789'"
"""In any new vocabulary: an unseen English word is spelt out, and is not all [UNK]."""


class Tokens(NamedTuple):
    """The tokens of a batch.

    Attributes:
        ids: id_BL, int64; 0 behind a row's end.
        is_token: bool [B, L], true where a row has a token.
        is_word: bool [B, L], likewise but false for the special tokens around the text.
    """

    ids: Tensor
    is_token: Tensor
    is_word: Tensor

    def to(self, device: torch.device) -> Tokens:
        """Move the tokens to a device."""
        return Tokens(*(tensor.to(device, non_blocking=True) for tensor in self))


class Tokeniser:
    """Cuts transcripts into tokens, each as if it were alone.

    Attributes:
        data: the content of its `tokenizer.json`.
        sha256: of `data`.
        num_ids: ids are below it.
        num_cut: transcripts so far of which not all tokens were kept.

    Example:
        >>> tokeniser = Tokeniser(make_tokeniser(["so it is"], vocab_size=100), max_tokens=5)
        >>> tokeniser(["So it is!", ""]).is_token.sum(dim=1).tolist()
        [5, 2]
        >>> tokeniser.num_cut
        1
    """

    def __init__(self, data: bytes, *, max_tokens: int, source: str = TOKENISER_NAME) -> None:
        """Read a tokeniser.

        Args:
            data: the content of a `tokenizer.json`.
            max_tokens: of a transcript, the special ones among them; further ones are cut off.
            source: where it is from, for messages.

        Raises:
            ModelError: it is no tokeniser, or one without special tokens around a text.
        """
        try:
            self._library = Tokenizer.from_str(data.decode())
        except Exception as error:  # the library raises nothing finer
            raise ModelError(f"{source} is no tokeniser: {error}") from error
        self._library.no_padding()
        self._library.enable_truncation(max_tokens)
        if not self._library.encode("").ids:
            # A transcript without words would have no token, and a mean of nothing is no number.
            raise ModelError(f"{source} puts no special token, as [CLS] and [SEP], around a text")
        self.data = data
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.num_ids = max(self._library.get_vocab().values()) + 1
        self.num_cut = 0
        self._max_tokens = max_tokens

    def __call__(self, transcripts: Sequence[str]) -> Tokens:
        """Return the tokens of a batch, padded to the longest."""
        # One by one: the library's own threads would fight with those of torch.
        encodings = [self._library.encode(transcript) for transcript in transcripts]
        num_cut = sum(bool(encoding.overflowing) for encoding in encodings)
        if num_cut and not self.num_cut:
            logger.warning("transcripts of over %d tokens are cut there", self._max_tokens)
        self.num_cut += num_cut
        special = [torch.tensor(encoding.special_tokens_mask) for encoding in encodings]
        return Tokens(
            ids=pad_sequence([torch.tensor(e.ids) for e in encodings], batch_first=True),
            is_token=pad_sequence([s >= 0 for s in special], batch_first=True),
            is_word=pad_sequence([s == 0 for s in special], batch_first=True),
        )


def wordpiece_tokeniser(vocabulary: Iterable[str], *, lowercase: bool = True) -> bytes:
    """Return BERT's tokeniser for a vocabulary, as `tokenizer.json`.

    Args:
        vocabulary: the tokens by their ids, the lines of a `vocab.txt`.
        lowercase: whether capital letters and accents are lost, as in BERT's "uncased" models.

    Raises:
        ModelError: a special token is missing.
    """
    ids = {token: index for index, token in enumerate(vocabulary)}
    missing = [token for token in SPECIAL_TOKENS[:4] if token not in ids]
    if missing:
        raise ModelError(f"the vocabulary has no {', '.join(missing)}")
    text: str = BertWordPieceTokenizer(ids, lowercase=lowercase).to_str()
    return text.encode()


def make_tokeniser(transcripts: Iterable[str], *, vocab_size: int) -> bytes:
    """Return a WordPiece tokeniser whose vocabulary is made of transcripts, as `tokenizer.json`.

    Behind the special tokens stand all characters, each alone and as the continuation of a word
    (##), then whole words, from the most frequent on. A word that is not among them is spelt. The
    same transcripts in any order make the same tokeniser, byte by byte.

    Args:
        transcripts: of the training segments; none leaves English letters and digits.
        vocab_size: tokens at most.

    Example:
        >>> data = make_tokeniser(["a rose is a rose"], vocab_size=82)
        >>> Tokenizer.from_str(data.decode()).encode("a rose, alas").tokens
        ['[CLS]', 'a', 'rose', '[UNK]', 'a', '##l', '##a', '##s', '[SEP]']
    """
    rules = BertWordPieceTokenizer()
    words: Counter[str] = Counter()
    for transcript in transcripts:
        normal = rules.normalize(transcript)
        words.update(word for word, _ in rules.pre_tokenizer.pre_tokenize_str(normal))
    characters: Counter[str] = Counter(_EVERY_CHARACTER)
    for word, count in words.items():
        for character in word:
            characters[character] += count
    vocabulary = dict.fromkeys(SPECIAL_TOKENS)
    for character in _most_frequent(characters):
        vocabulary |= dict.fromkeys((character, f"##{character}"))
    vocabulary |= dict.fromkeys(_most_frequent(words))
    return wordpiece_tokeniser(list(vocabulary)[:vocab_size])


def _most_frequent(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda item: (-counts[item], item))
