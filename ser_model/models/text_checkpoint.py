"""The tokeniser of a checkpoint: its `tokenizer.json`, or one made of its `vocab.txt`."""

from __future__ import annotations

import json

from ser_model.models.checkpoint import Checkpoint, locate, read_small
from ser_model.models.tokeniser import TOKENISER_NAME, wordpiece_tokeniser
from ser_model.schema import ModelError

VOCABULARY_NAME = "vocab.txt"
SETTINGS_NAME = "tokenizer_config.json"


def read_tokeniser(checkpoint: Checkpoint) -> bytes:
    """Return the content of a checkpoint's `tokenizer.json`.

    Without that file, it is made of `vocab.txt`, a token a line, in lower case unless
    `tokenizer_config.json` says otherwise: TinyBERT has no more.

    Raises:
        ModelError: neither is there, or what is there cannot be read.
    """
    _, find, _ = locate(checkpoint.source, checkpoint.revision)
    files = {}
    for name in (TOKENISER_NAME, VOCABULARY_NAME, SETTINGS_NAME):
        uri = find(name)
        if uri is not None:
            files[name] = read_small(uri, name, checkpoint.source)
    if TOKENISER_NAME in files:
        return files[TOKENISER_NAME]
    if VOCABULARY_NAME not in files:
        raise ModelError(
            f"{checkpoint.source} has no tokeniser: neither {TOKENISER_NAME} nor {VOCABULARY_NAME}"
        )
    try:
        settings = json.loads(files.get(SETTINGS_NAME, b"{}"))
        lowercase = settings.get("do_lower_case", True) is True
        # Some tokens are what Python takes for ends of lines too.
        vocabulary = files[VOCABULARY_NAME].decode().removesuffix("\n").split("\n")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"the tokeniser of {checkpoint.source} cannot be read: {error}") from error
    return wordpiece_tokeniser(vocabulary, lowercase=lowercase)
