"""Audible residuals: which segments, with the right sound, within the page's size."""

import base64
import io
import re

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf

from orchestration.report import render
from orchestration.report.audio import audio_panel
from orchestration.report.audit_folder import read_audit
from orchestration.report.extremes import ALL_SEGMENTS, choose_extremes
from orchestration.report.render import render_report
from pipelines.transforms.extremes import EXTREME_ROWS
from ser_model import storage
from ser_model.schema import ConfigError, ManifestError, RunError

RATE_HZ = 16_000
SEGMENT_S = 1.0
NUM = 8
TONES_HZ = [200 + 150 * n for n in range(NUM)]


def extreme(number, rank, **columns):
    return {
        "model_version": "3",
        "condition": "clean",
        "slice_by": "",
        "slice": "",
        "target": "arousal",
        "rank": rank,
        "segment_id": f"segment {number}",
        "speaker_id": f"ann {number % 3}",
        "truth": 0.9,
        "prediction": 0.1 + 0.01 * rank,
    } | columns


EXTREMES = [
    *(extreme(number, rank) for rank, number in enumerate(range(6), start=1)),
    *(
        extreme(number, rank, slice_by="sex", slice="sex=male", prediction=0.2)
        for rank, number in enumerate((6, 7), start=1)
    ),
    extreme(0, 1, target="valence"),
    extreme(5, 1, condition="babble", target="dominance"),
]


@pytest.fixture
def corpus(tmp_path):
    """corpus(loudness) -> a manifest of eight segments of one recording, each a tone of its own."""

    def make(duration_s=SEGMENT_S, noise=0.0):
        random = np.random.default_rng(0)
        time_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
        tones = [0.3 * np.sin(2 * np.pi * tone * time_s) for tone in TONES_HZ]
        waveform = np.concatenate(tones) + noise * random.normal(size=NUM * len(time_s))
        sf.write(tmp_path / "ann.wav", waveform, RATE_HZ)
        manifest = pa.table(
            {
                "segment_id": [f"segment {n}" for n in range(NUM)],
                "recording": ["ann.wav"] * (NUM - 1) + ["missing.wav"],
                "start_s": [duration_s * n for n in range(NUM)],
                "end_s": [duration_s * (n + 1) for n in range(NUM)],
            }
        )
        uri = str(tmp_path / "manifest.parquet")
        storage.write_table(uri, manifest)
        return uri

    return make


@pytest.fixture
def make_folder(make_audit, corpus):
    """make(rows) -> an audit folder with these extremes of the corpus."""

    def make(rows=EXTREMES, **options):
        uri = corpus(**options)
        from orchestration.found_runs import file_sha256

        metadata = {"uri": uri, "sha256": file_sha256(uri)}
        folder = make_audit(audit={"metadata": metadata})
        table = pa.Table.from_pylist(rows, schema=EXTREME_ROWS)
        storage.write_table(storage.join(folder, "extremes.parquet"), table)
        return folder

    return make


def panel_of(folder, num=20, max_bytes=2_000_000):
    audit = read_audit(folder)
    return audio_panel(audit, audit.audit, num=num, max_bytes=max_bytes)


def rows_of(panel):
    return [row for _, targets in panel.models for _, rows in targets for row in rows]


def decoded(uri):
    kind, _, data = uri.partition(";base64,")
    assert kind == "data:audio/ogg"
    return sf.read(io.BytesIO(base64.b64decode(data)))


def test_every_segment_is_heard_as_it_was_recorded(make_folder):
    panel = panel_of(make_folder())
    heard = {row.extreme.segment_id: row.audio for row in rows_of(panel) if row.audio}
    assert sorted(heard) == [f"segment {n}" for n in range(NUM - 1)]
    for segment_id, uri in heard.items():
        waveform, rate = decoded(uri)
        assert len(waveform) / rate == pytest.approx(SEGMENT_S, abs=0.01)
        loudest = np.abs(np.fft.rfft(waveform)).argmax() * rate / len(waveform)
        assert loudest == pytest.approx(TONES_HZ[int(segment_id[-1])], abs=3)


def test_counts_add_up_and_what_cannot_be_heard_says_why(make_folder):
    panel = panel_of(make_folder())
    rows = rows_of(panel)
    # Segment 0 stands in two dimensions, and the condition babble in none.
    assert panel.num_chosen == panel.num_rows == len(rows) == NUM + 1
    assert panel.num_left_out == 0
    (mute,) = [row for row in rows if row.reason]
    assert (mute.extreme.segment_id, mute.reason) == ("segment 7", "recording not found")
    assert panel.num_without == 1
    again = [row for row in rows if row.heard_at]
    assert [(row.extreme.target, row.heard_at.extreme.target) for row in again] == [
        ("valence", "arousal")
    ]
    assert again[0].heard_at.audio is not None


def test_fewer_are_chosen_where_fewer_are_asked_for(make_folder):
    rows = rows_of(panel_of(make_folder(), num=1))
    wanted = {("segment 0", "arousal"), ("segment 6", "arousal"), ("segment 0", "valence")}
    assert {(row.extreme.segment_id, row.extreme.target) for row in rows} == wanted


def test_every_group_keeps_its_furthest_before_any_has_a_second():
    rows = [extreme(n, n + 1) for n in range(3)]
    rows += [extreme(0, 1, slice_by="sex", slice="sex=female")]
    rows += [extreme(9, 1, slice_by="sex", slice="sex=male", prediction=0.8)]
    chosen = choose_extremes(pa.Table.from_pylist(rows, schema=EXTREME_ROWS), {}, 20)
    assert [one.segment_id for one in chosen] == [f"segment {n}" for n in (0, 9, 1, 2)]
    assert chosen[0].groups == (ALL_SEGMENTS, "sex=female")
    assert chosen[0].residual == pytest.approx(0.79)


def test_long_segments_are_cut(make_folder):
    row = next(row for row in rows_of(panel_of(make_folder(duration_s=12.0), num=1)) if row.audio)
    waveform, rate = decoded(row.audio)
    assert len(waveform) / rate == pytest.approx(10.0, abs=0.01)


def test_the_least_extreme_are_left_out_where_there_is_no_room(make_folder, tmp_path, monkeypatch):
    folder = make_folder(duration_s=10.0, noise=0.1)
    report = tmp_path / "report.html"
    small = render_report(folder, str(report)).num_bytes
    # Room for three clips or so of the seven.
    monkeypatch.setattr(render, "MAX_BYTES", small + 100_000)
    summary = render_report(folder, str(report), num_audio=20)
    assert summary.num_bytes == len(report.read_bytes()) <= small + 100_000
    html = report.read_text()
    num_rows = html.count('<tr id="segment-')
    assert 3 <= num_rows < NUM + 1
    assert f"{num_rows} of {NUM + 1} are listed" in html
    assert f"no room for {NUM + 1 - num_rows}," in html
    # Of rank 1 are segments 0 and 6 of arousal and 0 of valence; of these none is left out.
    for segment in ("segment 0", "segment 6"):
        assert f"<bdi>{segment}</bdi>" in html
    assert "<bdi>segment 5</bdi>" not in html


def test_the_page_plays_them_and_says_that_voices_are_personal(make_folder, tmp_path):
    report = tmp_path / "report.html"
    folder = make_folder()
    render_report(folder, str(report), num_audio=20)
    html = report.read_text()
    assert "A voice is personal data" in html
    assert "media-src data:" in html
    assert html.count('<audio controls preload="none"') == NUM - 1
    assert re.search(r'<a href="#segment-1">under arousal</a>', html)
    first = report.read_bytes()
    render_report(folder, str(report), num_audio=20)
    assert report.read_bytes() == first


def test_without_being_asked_a_report_holds_no_voice(make_folder, tmp_path):
    report = tmp_path / "report.html"
    render_report(make_folder(), str(report))
    html = report.read_text()
    assert "<audio" not in html
    assert "media-src" not in html
    assert "segment 0" not in html


def test_under_pseudonyms_neither_speakers_nor_segments_are_named(make_folder, tmp_path):
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    report = tmp_path / "report.html"
    render_report(make_folder(), str(report), key_uri=str(key), num_audio=20)
    html = report.read_text().partition('<h2 id="audio">')[2].partition('<h2 id="')[0]
    assert html.count("<audio") == NUM - 1
    text = re.sub('base64,[^"]*', "", html)
    assert "ann " not in text
    assert "<bdi>segment" not in text
    assert ".wav" not in text
    assert "speaker-" in text
    assert "tells who speaks whatever the name beside it is" in text


def test_names_from_data_are_escaped_and_cut(make_folder, tmp_path):
    hostile = '"><script>alert(1)</script>' + "x" * 300
    rows = [extreme(0, 1, speaker_id=hostile, slice_by="sex", slice=f"sex={hostile}")]
    report = tmp_path / "report.html"
    render_report(make_folder(rows), str(report), num_audio=1)
    html = report.read_text()
    assert "<script" not in html
    assert "x" * 100 not in re.sub('base64,[^"]*', "", html)


def test_metadata_that_changed_are_refused(make_folder, tmp_path):
    folder = make_folder()
    uri = str(tmp_path / "manifest.parquet")
    storage.write_table(uri, storage.read_table(uri).slice(1))
    with pytest.raises(RunError, match=r"manifest.parquet has changed since it was audited"):
        panel_of(folder)


def test_metadata_without_recordings_are_refused(make_audit, tmp_path):
    from orchestration.found_runs import file_sha256

    uri = str(tmp_path / "metadata.parquet")
    storage.write_table(uri, pa.table({"segment_id": ["segment 0"]}))
    folder = make_audit(audit={"metadata": {"uri": uri, "sha256": file_sha256(uri)}})
    table = pa.Table.from_pylist(EXTREMES, schema=EXTREME_ROWS)
    storage.write_table(storage.join(folder, "extremes.parquet"), table)
    with pytest.raises(ManifestError, match="no column 'recording'"):
        panel_of(folder)


def test_models_of_emotions_have_no_residuals(make_folder, tmp_path):
    report = tmp_path / "report.html"
    render_report(make_folder([]), str(report), num_audio=20)
    html = report.read_text()
    assert "There are no residuals" in html
    assert "<audio" not in html


def test_an_audit_without_extremes_is_refused(make_audit):
    with pytest.raises(RunError, match=r"holds no extremes.parquet; run `serval audit` again"):
        panel_of(make_audit())


@pytest.mark.parametrize("num", [-1, 0, 21])
def test_a_number_that_cannot_be_had_is_refused(make_folder, tmp_path, num):
    with pytest.raises(ConfigError, match=f"--with-audio {num} is not 1 to 20"):
        render_report(make_folder(), str(tmp_path / "report.html"), num_audio=num)
    assert not (tmp_path / "report.html").exists()
