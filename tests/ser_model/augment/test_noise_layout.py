"""Noise folders of every layout: ESC-50, MUSAN, tables, subfolders, and several side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_model.augment import NoiseFolder, conditions
from ser_model.schema import ConfigError, ManifestError


def classes(folder: NoiseFolder) -> dict[str, str]:
    return {sound.path: sound.noise_class for sound in folder.sounds}


def test_esc_50_is_read_by_its_table(write_sound, tmp_path: Path) -> None:
    for file in ("1-100-A-10.wav", "1-200-B-24.wav", "1-300-A-0.wav"):
        write_sound(f"audio/{file}")
    (tmp_path / "noise/meta").mkdir()
    (tmp_path / "noise/meta/esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-100-A-10.wav,1,10,rain,True,100,A\n"
        "1-200-B-24.wav,1,24,coughing,False,200,B\n"
        "1-300-A-0.wav,1,0,dog,True,300,A\n"
    )
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    assert classes(folder) == {
        "audio/1-100-A-10.wav": "rain",
        "audio/1-200-B-24.wav": "coughing",
        "audio/1-300-A-0.wav": "dog",
    }
    conditions(["natural-0db", "human-0db", "coughing-10db"], folder)
    with pytest.raises(ConfigError, match="no sounds of interior"):
        conditions(["interior-0db"], folder)


def test_a_table_that_names_what_is_not_there_is_refused_by_row(
    write_sound, tmp_path: Path
) -> None:
    write_sound("audio/a.wav")
    (tmp_path / "noise/meta").mkdir()
    table = tmp_path / "noise/meta/esc50.csv"
    table.write_text("filename,category\na.wav,rain\nb.wav,rain\n")
    with pytest.raises(ConfigError, match=r"esc50\.csv, row 2: filename 'b\.wav'.*not there"):
        NoiseFolder.open(str(tmp_path / "noise"))
    table.write_text("filename,category\na.wav,\n")
    with pytest.raises(ConfigError, match=r"row 1: .*has no class"):
        NoiseFolder.open(str(tmp_path / "noise"))
    table.write_text("")
    with pytest.raises(ManifestError, match="is empty"):
        NoiseFolder.open(str(tmp_path / "noise"))


def test_musan_is_read_by_its_three_folders_at_any_depth(write_sound, tmp_path: Path) -> None:
    write_sound("musan/music/fma/a.wav")
    write_sound("musan/noise/free-sound/b.wav")
    write_sound("musan/speech/librivox/c.wav")
    assert classes(NoiseFolder.open(str(tmp_path / "noise"))) == {
        "musan/music/fma/a.wav": "music",
        "musan/noise/free-sound/b.wav": "noise",
        "musan/speech/librivox/c.wav": "speech",
    }
    at_its_root = NoiseFolder.open(str(tmp_path / "noise/musan"))
    assert sorted(classes(at_its_root).values()) == ["music", "noise", "speech"]


def test_a_sound_may_stand_for_several_classes(write_sound, tmp_path: Path) -> None:
    write_sound("1.wav")
    (tmp_path / "noise/classes.csv").write_text("file,class\n1.wav,human\n1.wav,natural\n")
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    assert [sound.noise_class for sound in folder.sounds] == ["human", "natural"]
    conditions(["natural-0db", "human-0db"], folder)


def test_several_layouts_lie_side_by_side(write_sound, tmp_path: Path) -> None:
    write_sound("esc/audio/a.wav")
    (tmp_path / "noise/esc/meta").mkdir()
    (tmp_path / "noise/esc/meta/esc50.csv").write_text("filename,category\na.wav,rain\n")
    write_sound("musan/music/x/b.wav")
    write_sound("musan/speech/x/c.wav")
    write_sound("Door Wood-Knock/d.wav")
    write_sound("mine/e.wav")
    (tmp_path / "noise/mine/list.csv").write_text("class,file,note\nsneezing,e.wav,loud\n")
    (tmp_path / "noise/mine/other.csv").write_text("a,b\n1,2\n")
    assert classes(NoiseFolder.open(str(tmp_path / "noise"))) == {
        "esc/audio/a.wav": "rain",
        "musan/music/x/b.wav": "music",
        "musan/speech/x/c.wav": "speech",
        "Door Wood-Knock/d.wav": "door_wood_knock",
        "mine/e.wav": "sneezing",
    }


def test_a_folder_without_classes_is_refused(write_sound, tmp_path: Path) -> None:
    write_sound("a.wav")
    for folder in (tmp_path / "noise", tmp_path / "not there"):
        with pytest.raises(ConfigError, match=r"holds no sounds of a known class: ESC-50"):
            NoiseFolder.open(str(folder))


def test_the_hash_follows_names_and_classes(write_sound, tmp_path: Path) -> None:
    hashes = []
    for path in ("rain/a.wav", "rain/b.wav", "wind/b.wav"):
        write_sound(path)
        hashes.append(NoiseFolder.open(str(tmp_path / "noise")).sha256)
    assert len(set(hashes)) == 3
