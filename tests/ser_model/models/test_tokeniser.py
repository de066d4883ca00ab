import json
import random
from pathlib import Path

import pytest
from transformers import BertTokenizer

from ser_model.models.tokeniser import (
    SPECIAL_TOKENS,
    Tokeniser,
    make_tokeniser,
    wordpiece_tokeniser,
)
from ser_model.schema import ModelError

SENTENCES = [
    "So it is, said the Duchess: and the moral of that is",
    "Oh, 'tis love, 'tis love, that makes the world go round!",
    "naïve café",
    "これは日本語です",
    "",
    "   ",
]
VOCABULARY = [*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxyz,'!:", "love", "the", "##s", "##t"]


def words(tokeniser: Tokeniser, text: str) -> list[int]:
    tokens = tokeniser([text])
    return tokens.ids[0][tokens.is_word[0]].tolist()


def test_tokens_are_those_of_the_library_for_the_same_vocabulary() -> None:
    tokeniser = Tokeniser(wordpiece_tokeniser(VOCABULARY), max_tokens=12)
    library = BertTokenizer(vocab={token: index for index, token in enumerate(VOCABULARY)})
    tokens = tokeniser(SENTENCES)
    expected = library(
        SENTENCES, truncation=True, max_length=12, padding="longest", return_tensors="pt"
    )
    assert tokens.ids.tolist() == expected["input_ids"].tolist()
    assert tokens.is_token.int().tolist() == expected["attention_mask"].tolist()
    num_special = (tokens.is_token & ~tokens.is_word).sum(dim=1)
    assert num_special.tolist() == [2] * len(SENTENCES)


def test_a_vocabulary_is_the_same_from_transcripts_in_any_order() -> None:
    shuffled = random.Random(0).sample(SENTENCES, len(SENTENCES))
    made = make_tokeniser(SENTENCES, vocab_size=200)
    assert make_tokeniser(shuffled, vocab_size=200) == made
    assert make_tokeniser([*SENTENCES, "another"], vocab_size=200) != made


def test_a_made_vocabulary_knows_frequent_words_and_spells_the_others() -> None:
    transcripts = ["happy sad"] * 3 + ["sad glum"]
    data = make_tokeniser(transcripts, vocab_size=5 + 2 * 37 + 2)
    vocab = json.loads(data)["model"]["vocab"]
    # Behind the special tokens and 37 characters, twice each, there is room for two words.
    assert {"sad", "happy"} <= set(vocab)
    assert "glum" not in vocab
    tokeniser = Tokeniser(data, max_tokens=64)
    unknown = vocab["[UNK]"]
    assert len(words(tokeniser, "sad")) == 1
    assert len(words(tokeniser, "glum")) == 4
    assert unknown not in words(tokeniser, "Glum zebras ran 42 miles")
    assert words(tokeniser, "日") == [unknown]


def test_a_long_transcript_is_cut_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    tokeniser = Tokeniser(make_tokeniser(["word"], vocab_size=100), max_tokens=128)
    endless = "word " * 100_000
    tokens = tokeniser([endless, "word", endless])
    assert tokens.is_token.sum(dim=1).tolist() == [128, 3, 128]
    assert tokens.ids[0, -1] == tokens.ids[1, 2]  # the end of a text is marked all the same
    assert tokeniser.num_cut == 2
    tokeniser([endless])
    assert tokeniser.num_cut == 3
    assert caplog.text.count("cut") == 1


@pytest.mark.parametrize("text", ["a" * 100_000, "\x00\ud7ff\ufffd", "🙂" * 1000, "[SEP] [CLS]"])
def test_odd_text_has_tokens(text: str) -> None:
    tokeniser = Tokeniser(make_tokeniser((), vocab_size=100), max_tokens=16)
    tokens = tokeniser([text])
    assert 2 <= int(tokens.is_token.sum()) <= 16
    assert int(tokens.ids.max()) < tokeniser.num_ids


def test_what_is_no_tokeniser_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"some/tokenizer.json is no tokeniser"):
        Tokeniser(b"{}", max_tokens=8, source="some/tokenizer.json")
    with pytest.raises(ModelError, match="is no tokeniser"):
        Tokeniser(b"\xff\x00", max_tokens=8)
    with pytest.raises(ModelError, match=r"has no \[UNK\], \[SEP\]"):
        wordpiece_tokeniser(["[PAD]", "[CLS]", "a"])
    bare = json.loads(make_tokeniser((), vocab_size=100))
    bare["post_processor"] = None
    with pytest.raises(ModelError, match="puts no special token"):
        Tokeniser(json.dumps(bare).encode(), max_tokens=8)
