"""What a reader of a probe has to know of its segments, in sentences."""

from __future__ import annotations

import logging
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.text_probe.segments import is_spoken
from orchestration.text_probe.sentiment import Sentiment
from orchestration.text_probe.synthesis import NeutralVoice

ENGLISH = {"en", "eng", "english"}
"""What `language` may hold for English; other languages go by their code."""

logger = logging.getLogger(__name__)


def notes_of(segments: pa.Table, voice: NeutralVoice, sentiment: Sentiment | None) -> list[str]:
    """Return the notes, and log them as warnings.

    Args:
        segments: as from `original_side`.
        voice: who spoke the transcripts.
        sentiment: of the transcripts; None if there is none.
    """
    wanted = segments.filter(is_spoken(segments))
    languages = wanted["language"].to_pylist()
    notes = []
    if others := _others(languages, voice.language):
        notes.append(
            f"voice {voice.name} read transcripts of other languages by the column language "
            f"({others}): choose one with --voice"
        )
    if sentiment is None:
        notes.append(
            "no sentiment of the words: pip install 'serval[probe]' for a lexicon of English, or "
            "name a column or the run of a text model with --sentiment"
        )
    elif (language := sentiment.facts.get("language")) and (
        others := _others(languages, str(language))
    ):
        notes.append(
            f"the sentiment comes from {sentiment.name}, and there are transcripts of other "
            f"languages by the column language ({others}): name a column or the run of a text "
            "model with --sentiment"
        )
    num_texts = pc.count_distinct(wanted["transcript"], mode="only_valid").as_py()
    num_spoken = len(wanted) - wanted["transcript"].null_count
    if 2 * num_texts <= num_spoken:
        notes.append(
            f"{num_spoken} segments share {num_texts} transcripts: intervals know of other "
            "speakers, not of other sentences, and a model that was trained on these sentences "
            "may know them by heart"
        )
    if num_unknown := wanted["speaker_id"].null_count:
        notes.append(f"{num_unknown} segments have no speaker_id: they count as one speaker")
    for note in notes:
        logger.warning("probe: %s", note)
    return notes


def _others(languages: list[str | None], wanted: str) -> str:
    """Count the languages that are known and not the one that is wanted.

    >>> _others(["en-GB", "English", None, "de", "de_AT", "fr"], "en")
    '2 de, 1 fr'
    """
    codes = (
        language.lower().replace("_", "-").partition("-")[0] for language in languages if language
    )
    own = ENGLISH if wanted == "en" else {wanted}
    counts = Counter(code for code in codes if code not in own)
    return ", ".join(f"{number} {code}" for code, number in counts.most_common())
