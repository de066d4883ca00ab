from pathlib import Path

import pytest

from orchestration.cli import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "-1"], "--seed -1 is negative"),
        (["--dir", "s3://bucket/demo"], "s3://bucket/demo is not local"),
    ],
)
def test_wrong_options_are_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_file_in_place_of_the_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert main(["demo", "--dir", str(file)]) == 2
    assert f"--dir {file} cannot be written" in capsys.readouterr().err
