"""Corpora that a user names: their parts, the four emotions, dialogue acts, and what is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.reproduce.corpora import ABSENT, Corpora, Part, parse_corpora
from orchestration.reproduce.places import PLACES
from ser_model.manifest import read_manifest, write_manifest
from ser_model.schema import ConfigError, ManifestError


def test_parts_of_msp_podcast(corpora: dict[str, str]) -> None:
    given = Corpora(corpora)
    counts = {
        place: len(given.part(Part(place=place))) for place in PLACES if place.startswith("msp")
    }
    assert counts == {
        "msp-podcast/train": 48,
        "msp-podcast/dev": 16,
        "msp-podcast/test-1": 48,
        "msp-podcast/test-2": 24,
    }
    train = given.part(Part(place="msp-podcast/train"))
    assert set(train["split"].to_pylist()) == {"train", "dev"}
    assert "found 48 by 6" in given.mismatches()[0]


def test_four_emotions_stand_in_the_place_of_all(corpora: dict[str, str]) -> None:
    given = Corpora(corpora)
    part = given.part(Part(place="iemocap", four_emotions=True))
    assert len(part) == 40, "of 48, eight are frustrated"
    assert set(part["emotion"].to_pylist()) == {"anger", "happiness", "neutral", "sadness"}


def test_trainings_do_not_depend_on_dialogue_acts(corpora: dict[str, str]) -> None:
    part = Part(place="iemocap")
    alone = Corpora({"iemocap": corpora["iemocap"]})
    within = Corpora({"emotyda": corpora["emotyda"]})
    assert alone.identify(part) == within.identify(part)
    annotated = within.part(Part(place="iemocap", dialogue_acts=True))
    assert annotated["dialogue_act"].null_count == 0
    assert alone.identify(Part(place="iemocap", dialogue_acts=True))[0] == ABSENT


def test_no_actor_is_on_both_sides_of_the_disjoint_split(corpora: dict[str, str]) -> None:
    table = Corpora(corpora).part(Part(place="ravdess/speaker-disjoint"))
    pairs = set(zip(table["speaker_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    assert len(pairs) == 8
    assert {split for _, split in pairs} == {"train", "dev", "test"}


def test_a_manifest_will_do(corpora: dict[str, str], tmp_path: Path) -> None:
    part = Part(place="iemocap", four_emotions=True)
    file = str(tmp_path / "iemocap.parquet")
    Corpora(corpora).write(file, Part(place="iemocap"))
    assert Corpora({"iemocap": file}).part(part)["emotion"].to_pylist() == (
        Corpora(corpora).part(part)["emotion"].to_pylist()
    )
    write_manifest(file, read_manifest(file).drop_columns(["emotion_4"]))
    with pytest.raises(ManifestError, match="iemocap: the corpus has no column 'emotion_4'"):
        Corpora({"iemocap": file}).part(part)
    with pytest.raises(ManifestError, match="msp-podcast/test-1: the corpus has no column 'split_"):
        Corpora({"msp-podcast": file}).part(Part(place="msp-podcast/test-1"))


def test_what_was_not_given_is_told_and_counted_as_printed() -> None:
    part = Part(place="iemocap", four_emotions=True)
    assert Corpora({}).identify(part) == (ABSENT, 5531)
    with pytest.raises(ManifestError, match="was not given: --corpus iemocap=PATH"):
        Corpora({}).part(part)
    with pytest.raises(ManifestError, match="--corpus esc50=PATH"):
        _ = Corpora({}).noise_uri


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["ravdess"], "'ravdess' is not NAME=PATH"),
        (["timit=/x"], "names are msp-podcast, iemocap"),
        (["ravdess="], "is not NAME=PATH"),
        (["ravdess=a", "ravdess=b"], "ravdess stands there twice"),
    ],
)
def test_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_corpora(texts)
