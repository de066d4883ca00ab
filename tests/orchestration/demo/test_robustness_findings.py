from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.demo.robustness_findings import RobustnessFindings, read_robustness
from ser_model import storage
from ser_model.schema import DIMENSIONS, STATISTICS

NOT_SHOWN = "inconclusive: that the harshest level costs more than 0.05 is not shown"


def statistic(metric: str, target: str, value: float | None, **values: object) -> dict:
    return {
        "model_version": "demo/1",
        "condition": "clean",
        "slice_by": "condition",
        "slice": "condition=white-noise-*db",
        "target": target,
        "metric": metric,
        "value": value,
        "num_segments": 10,
        "num_speakers": 4,
        **values,
    }


def break_point(target: str, value: float | None, reason: str | None = None) -> dict:
    return statistic("concordance_cc_break_point", target, value, margin=0.05, reason=reason)


def change_gap(
    accents: str, target: str, value: float, snr_db: int = 10, p_adjusted: float = 0.4
) -> dict:
    condition = f"white-noise-{snr_db}db"
    return statistic(
        "concordance_cc_change_gap",
        target,
        value,
        condition=condition,
        slice_by="condition,accent",
        slice=f"condition={condition}-condition=clean,{accents}",
        ci_low=value - 0.1,
        ci_high=value + 0.1,
        p_adjusted=p_adjusted,
    )


def findings_of(folder: Path, *more: dict) -> RobustnessFindings:
    rows = [
        break_point("arousal", None, NOT_SHOWN),
        break_point("dominance", 30.0, "from the mildest level that was scored on"),
        break_point("valence", 25.0),
        *more,
    ]
    table = pa.Table.from_pylist(rows, schema=STATISTICS)
    storage.write_table(str(folder / "statistics.parquet"), table)
    return read_robustness(str(folder))


def test_break_points_are_those_of_all_segments(tmp_path: Path) -> None:
    of_slice = {
        **break_point("valence", 0.0),
        "slice_by": "condition,sex",
        "slice": "condition=white-noise-*db,sex=female",
    }
    of_other_metric = {**break_point("valence", 5.0), "metric": "pearson_cc_break_point"}
    findings = findings_of(tmp_path, of_slice, of_other_metric)
    assert list(findings.break_points) == list(DIMENSIONS)
    assert findings.as_data()["break_points"] == {
        "arousal": {"value": None, "margin": 0.05, "reason": NOT_SHOWN},
        "dominance": {
            "value": 30.0,
            "margin": 0.05,
            "reason": "from the mildest level that was scored on",
        },
        "valence": {"value": 25.0, "margin": 0.05, "reason": None},
    }
    lines = findings.as_text().splitlines()
    assert lines[0] == "white noise: the SNR from which on CCC is shown to fall by more than .05"
    assert lines[1].split(maxsplit=1) == ["arousal", f"none ({NOT_SHOWN})"]
    assert lines[3].split() == ["valence", "25", "dB"]


def test_the_accent_that_loses_most_is_that_of_the_lowest_gap(tmp_path: Path) -> None:
    findings = findings_of(
        tmp_path,
        change_gap("accent=scottish-rest", "arousal", -0.2),
        change_gap("accent=scottish-rest", "valence", -0.3, snr_db=5),
        change_gap("accent=british-rest", "arousal", 0.5),  # loses less
        change_gap("accent=american-accent=british", "arousal", -0.9),  # a pair, not the rest
        {**change_gap("sex=female-rest", "arousal", -0.9), "slice_by": "condition,sex"},
        {**change_gap("accent=x-rest", "arousal", -0.9), "metric": "unchanged_share_gap"},
        {**change_gap("accent=y-rest", "arousal", -0.9), "value": None},
        {**change_gap("accent=z-rest", "arousal", -0.9), "condition": "music-20db"},
    )
    lost = findings.as_data()["loses_most"]
    assert isinstance(lost, dict)
    assert (lost["condition"], lost["target"], lost["value"]) == (
        "white-noise-5db",
        "valence",
        -0.3,
    )
    last = " ".join(findings.as_text().splitlines()[-1].split())
    assert last == "accent=scottish-rest valence -0.30 [-0.40, -0.20] p = .400 white-noise-5db"


@pytest.mark.parametrize(("p_adjusted", "word"), [(0.049, "shown"), (0.051, "not shown")])
def test_a_loss_is_shown_where_its_corrected_test_says_so(
    tmp_path: Path, p_adjusted: float, word: str
) -> None:
    gap = change_gap("accent=scottish-rest", "arousal", -0.2, p_adjusted=p_adjusted)
    assert f"that of the rest: {word} (p adjusted" in findings_of(tmp_path, gap).as_text()


def test_where_no_accent_loses_more_that_is_said(tmp_path: Path) -> None:
    findings = findings_of(tmp_path, change_gap("accent=british-rest", "arousal", 0.1))
    assert findings.as_data()["loses_most"] is None
    assert findings.as_text().endswith("no accent loses more than the rest")
