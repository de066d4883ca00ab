"""What a table from a stranger can do: nothing but be text, and not more of it than fits."""

from pathlib import Path

import pyarrow as pa
import pytest

from ser_model import table_files
from ser_model.schema import ManifestError
from ser_model.table_files import read_table_file, write_table_file

HOSTILE = ["=HYPERLINK(1)", "@SUM(1)", "+1", "-1", 'a","b', "line\nbreak", "<script>", "../../x"]


@pytest.mark.parametrize("extension", table_files.EXTENSIONS)
def test_a_table_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    file = str(tmp_path / f"table{extension}")
    write_table_file(file, pa.table({"segment_id": ["a" * 2000]}))
    monkeypatch.setattr(table_files, "MAX_BYTES", 100)
    with pytest.raises(ManifestError, match="is larger than 100 bytes"):
        read_table_file(file)


@pytest.mark.parametrize("extension", table_files.EXTENSIONS)
def test_cells_are_text_and_come_back_as_they_were(tmp_path: Path, extension: str) -> None:
    """Ids must join: nothing is put before what a spreadsheet would take for a formula."""
    file = str(tmp_path / f"table{extension}")
    write_table_file(file, pa.table({"segment_id": HOSTILE}))
    assert read_table_file(file)["segment_id"].to_pylist() == HOSTILE
