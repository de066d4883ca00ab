"""IEMOCAP with EMOTyDA's dialogue acts: what a turn does in its dialogue, in `dialogue_act`.

IEMOCAP's folder (see `iemocap`), with EMOTyDA's iemocap_session1.csv to iemocap_session5.csv
anywhere in it: a row a turn, with the columns TURN and DA. To be had from
https://github.com/sahatulika15/EMOTyDA, folder Dataset; the repository names no licence.
Source: Saha et al. 2020, Towards emotion-aided multi-modal dialogue act classification.

EMOTyDA annotates turns that IEMOCAP does not evaluate (Ses05F_impro01_FXX0), and may leave out some
that it does: the log counts both.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import pyarrow as pa

from orchestration.readers import iemocap
from orchestration.readers.source import refuse_missing_columns
from ser_model import storage
from ser_model.schema import ManifestError
from ser_model.table_files import read_table_file

LAYOUT = "EMOTyDA: IEMOCAP with iemocap_session1.csv to iemocap_session5.csv in its folder"
TRUTH_RANGE = iemocap.TRUTH_RANGE
EXPECTED = iemocap.EXPECTED

DIALOGUE_ACTS = {
    "a": "acknowledgement",
    "ag": "agreement",
    "ans": "answer",
    "ap": "apology",
    "b": "back-channeling",
    "c": "command",
    "dag": "disagreement",
    "g": "greeting",
    "o": "opinion",
    "oth": "other",
    "q": "question",
    "s": "statement",
}
"""The twelve, in the words of Triantafyllopoulos et al., Multistage linguistic conditioning."""

_ANNOTATION = re.compile(r"(?:.*/)?iemocap_session[1-5]\.csv")

_logger = logging.getLogger(__name__)


def matches(source: str, files: Sequence[str]) -> bool:
    """Tell whether this is IEMOCAP with annotations of dialogue acts."""
    return bool(_annotations(files)) and iemocap.matches(source, files)


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a turn that IEMOCAP evaluates.

    Raises:
        ManifestError: as `iemocap`, or an annotation is absent or broken.
    """
    annotations = _annotations(files)
    if not annotations:
        raise ManifestError(f"{source} holds no iemocap_session1.csv to iemocap_session5.csv")
    turns = iemocap.read(source, files)
    act_by_turn: dict[str, str] = {}
    for file in annotations:
        _add_acts(storage.join(source, file), act_by_turn)
    dialogue_acts = [act_by_turn.get(turn) for turn in turns["segment_id"].to_pylist()]
    num_annotated = len(turns) - dialogue_acts.count(None)
    _logger.info(
        "%d of %d segments have a dialogue act; %d annotated turns are no segment",
        num_annotated,
        len(turns),
        len(act_by_turn) - num_annotated,
    )
    return turns.append_column("dialogue_act", pa.array(dialogue_acts, pa.string()))


def _annotations(files: Sequence[str]) -> list[str]:
    return [file for file in files if _ANNOTATION.fullmatch(file)]


def _add_acts(uri: str, act_by_turn: dict[str, str]) -> None:
    table = read_table_file(uri)
    refuse_missing_columns(uri, table, "TURN", "DA")
    rows = zip(table["TURN"].to_pylist(), table["DA"].to_pylist(), strict=True)
    for number, (turn, code) in enumerate(rows, start=1):
        act = DIALOGUE_ACTS.get((code or "").strip().lower())
        if turn is None or act is None:
            raise ManifestError(
                f"{uri}, row {number}: DA {code!r} of turn {turn!r} is not one of "
                f"{', '.join(DIALOGUE_ACTS)}"
            )
        if act_by_turn.setdefault(turn.strip(), act) != act:
            raise ManifestError(
                f"{uri}, row {number}: turn {turn} is annotated twice, as {act} and as "
                f"{act_by_turn[turn.strip()]}; leave one of them"
            )
