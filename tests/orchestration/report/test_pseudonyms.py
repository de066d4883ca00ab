"""Speakers under pseudonyms: nowhere on the page or the card is a name of theirs, or the key."""

import base64
import hashlib
import hmac
import logging
import re
from pathlib import Path

import pytest

from orchestration.commands import report
from orchestration.report.audit_folder import read_audit
from orchestration.report.pseudonyms import make_pseudonyms, pseudonymise, read_key
from orchestration.report.render import render_report
from ser_model import storage
from ser_model.schema import ConfigError

KEY = b"correct horse battery staple"


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    return str(path)


def both_files(folder: str, key_file: str | None) -> tuple[str, str]:
    render_report(folder, f"{folder}/report.html", key_uri=key_file)
    return tuple(  # type: ignore[return-value]
        storage.read_bytes(f"{folder}/{name}").decode() for name in ("report.html", "model_card.md")
    )


@pytest.fixture
def sliced_by_speaker(make_audit, row, gap_row) -> str:
    """Slices by speaker, alone and crossed, whose names hold what slices are joined with."""
    rows = [row("concordance_cc", 0.7)]
    for number in range(1, 4):
        name = f"Ann-{number}, jr"
        for by, prefix in (("speaker_id", ""), ("sex,speaker_id", "sex=female,")):
            of = {"slice_by": by, "slice": f"{prefix}speaker_id={name}"}
            rows.append(row("concordance_cc", 0.5 + number / 10, **of))
            rows.append(gap_row(f"{of['slice']}-rest", -0.2, fails=True, slice_by=by))
            other = f"{prefix}speaker_id=Ann-9, jr"
            rows.append(gap_row(f"{of['slice']}-{other}", -0.2, fails=True, slice_by=by))
    notes = ["Ann-1, jr has a cold", "the speakers Ann-2, jr; and (Ann-3, jr) are twins"]
    runs = [{"uri": "/home/Ann-3, jr/run"}]
    return make_audit(
        rows=rows, num_speakers=10, speaker_name="Ann-{}, jr", audit={"notes": notes, "runs": runs}
    )


def test_names_stand_nowhere(sliced_by_speaker: str, key_file: str) -> None:
    for text in both_files(sliced_by_speaker, None)[:1]:
        assert len(re.findall(r"Ann-\d, jr", text)) > 20
    page, card = both_files(sliced_by_speaker, key_file)
    for text in (page, card):
        assert "Ann" not in text
        assert KEY.decode() not in text
    names = make_pseudonyms(KEY, [f"Ann-{number}, jr" for number in range(10)])
    first = names.of("Ann-1, jr")
    assert f"{first} has a cold" in page
    assert f"sex=female,speaker_id={first}</bdi> against <bdi>the rest" in page
    assert f"speaker_id={first}" in card.replace("\\", "")
    assert "Speakers stand under pseudonyms" in page


def test_the_key_is_in_no_log_and_no_summary(
    make_audit, key_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    with caplog.at_level(logging.DEBUG):
        summary = report.run(parser.parse_args([make_audit(), "--pseudonymise", key_file]))
    for text in (caplog.text, summary.text, str(summary.data)):
        assert KEY.decode() not in text
        assert "speaker-001" not in text
    assert KEY.decode() not in repr(make_pseudonyms(KEY, ["a"]))


def test_a_pseudonym_is_the_beginning_of_an_hmac(make_audit, key_file: str) -> None:
    digest = hmac.new(KEY, b"speaker-003", hashlib.sha256).digest()
    expected = f"speaker-{base64.b32encode(digest).decode().lower()[:8]}"
    folder = pseudonymise(read_audit(make_audit()), read_key(key_file))
    assert expected in folder.speakers.column("speaker_id").to_pylist()


def test_the_same_key_gives_the_same_bytes_and_another_key_others(make_audit, tmp_path) -> None:
    folder = make_audit()
    keys = [tmp_path / name for name in ("one", "two")]
    for number, path in enumerate(keys):
        path.write_bytes(bytes([65 + number]) * 32)
    first, again, other = (both_files(folder, str(keys[index])) for index in (0, 0, 1))
    assert first == again
    assert first != other


def test_numbers_stay_with_their_speakers(make_audit, key_file: str) -> None:
    before = read_audit(make_audit())
    after = pseudonymise(before, KEY)
    names = make_pseudonyms(KEY, before.speakers.column("speaker_id").to_pylist())
    expected = [names.of(name) for name in before.speakers.column("speaker_id").to_pylist()]
    assert after.speakers.column("speaker_id").to_pylist() == expected
    rest = [
        table.drop_columns("speaker_id").to_pylist() for table in (before.speakers, after.speakers)
    ]
    assert repr(rest[0]) == repr(rest[1])  # NaN is not equal to itself
    assert after.statistics == before.statistics


def test_pseudonyms_that_are_alike_are_made_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.report.pseudonyms.MIN_LETTERS", 1)
    speakers = [f"speaker {number}" for number in range(2000)]
    names = make_pseudonyms(KEY, speakers)
    assert len({names.of(speaker) for speaker in speakers}) == len(speakers)
    lengths = {len(names.of(speaker)) for speaker in speakers}
    assert len(lengths) == 1
    (length,) = lengths
    shorter = {names.of(speaker)[: length - 1] for speaker in speakers}
    assert len(shorter) < len(speakers)


def test_who_has_no_name_gets_none() -> None:
    names = make_pseudonyms(KEY, ["(missing)", "a"])
    assert names.of("(missing)") == "(missing)"
    assert names.in_slice("sex=female,speaker_id=(missing)-rest") == (
        "sex=female,speaker_id=(missing)-rest"
    )


def test_a_speaker_of_a_slice_who_is_not_known_is_hidden_too() -> None:
    names = make_pseudonyms(KEY, ["a"])
    assert "Zoe" not in names.in_slice("speaker_id=Zoe-rest")
    assert names.in_slice("speaker_id=a-rest") == f"speaker_id={names.of('a')}-rest"


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "has 0 bytes"), (b"short\n", "has 5 bytes"), (b"x" * 70_000, "read")],
)
def test_a_key_that_cannot_be_used_is_refused(
    make_audit, tmp_path: Path, data: bytes, message: str
) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    folder = make_audit()
    with pytest.raises(ConfigError, match=message) as error:
        render_report(folder, f"{folder}/report.html", key_uri=str(path))
    assert "openssl rand" in str(error.value)
    assert "short" not in str(error.value).replace(str(path), "")
    assert not Path(folder, "report.html").exists()


def test_a_key_file_that_is_not_there_is_named(make_audit, tmp_path: Path) -> None:
    folder = make_audit()
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        render_report(folder, f"{folder}/report.html", key_uri=str(tmp_path / "nowhere"))
