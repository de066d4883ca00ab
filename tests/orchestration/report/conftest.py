"""Audit folders as `serval audit` writes them, made up here: seeded, with a planted gap."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orchestration.gate_decision import Comparison, Decision, Side
from ser_model import storage
from ser_model.schema import DIMENSIONS, SPEAKERS, STATISTICS

MakeAudit = Callable[..., str]

ACCENTS = ("american", "english", "scottish")
SEXES = ("female", "male")
EMOTIONS = ("anger", "happiness", "neutral", "sadness")


def row(metric: str, value: float | None, width: float = 0.04, **columns: object) -> dict:
    """A row with an interval of `value` +- `width`; every other column has a plain default."""
    has_interval = value is not None and columns.get("reason") is None
    return {
        "model_version": "3",
        "condition": "clean",
        "slice_by": "",
        "slice": "",
        "target": "arousal",
        "metric": metric,
        "value": value,
        "ci_low": value - width if has_interval else None,
        "ci_high": value + width if has_interval else None,
        "num_segments": 480,
        "num_speakers": 14,
        "p_value": None,
        "p_adjusted": None,
        "margin": None,
        "verdict": None,
        "reason": None,
    } | columns


def gap_row(comparison: str, value: float | None, *, fails: bool, **columns: object) -> dict:
    p = 0.002 if fails else 0.41
    judged = {"p_value": p, "p_adjusted": p, "verdict": "fail" if fails else "inconclusive"}
    judged |= {"margin": 0.075, "minimum_detectable_effect": 0.123}
    metric = columns.pop("metric", "concordance_cc_gap")
    by = columns.pop("slice_by", "accent")
    return row(metric, value, 0.09, slice_by=by, slice=comparison, **(judged | columns))


def quantile_rows(shift: float, **columns: object) -> Iterable[dict]:
    """Of residuals: -.295, -.115, -.005, .105, .275 and a shift."""
    quantiles = {"05": -0.295, "25": -0.115, "50": -0.005, "75": 0.105, "95": 0.275}
    for percent, value in quantiles.items():
        reason = {"reason": "no interval is computed"}
        yield row(f"residual_p{percent}", value + shift, **columns, **reason)


def pair_row(
    metric: str,
    slice_by: str,
    comparison: str,
    value: float | None,
    p: float | None,
    **pair: object,
) -> dict:
    """A model minus another, or a condition minus clean."""
    at = {"slice_by": slice_by, "slice": comparison, "p_value": p, "p_adjusted": p} | pair
    return row(metric, value, 0.05, **at)


def dimension_rows(rng: np.random.Generator, **pair: object) -> Iterable[dict]:
    """Arousal .78, dominance .66, valence .52; accent=scottish is .31 worse on arousal."""
    for target, level in zip(DIMENSIONS, (0.78, 0.66, 0.52), strict=True):
        at = {"target": target} | pair
        yield row("concordance_cc", level + rng.uniform(0, 0.01), **at)
        yield row("pearson_cc", level + 0.03 + rng.uniform(0, 0.01), **at)
        yield row("mean_squared_error", rng.uniform(0.01, 0.02), 0.004, **at)
        yield row("mean_absolute_error", rng.uniform(0.08, 0.1), 0.01, **at)
        yield row("bias", rng.uniform(-0.02, 0.02), 0.01, **at)
        yield row("speaker_average_mean_absolute_error", 0.0567, 0.01, num_speakers=12, **at)
        for metric in ("concordance_cc_p05", "concordance_cc_p50", "concordance_cc_p95"):
            yield row(f"speaker_{metric}", 0.456, reason="no interval is computed", **at)
        yield row("residual_slope", 0.345, 0.05, **at)
        yield row("residual_intercept", -0.2, 0.05, **at)
        yield from quantile_rows(0.0, **at)
        for by, names in (("accent", ACCENTS), ("sex", SEXES)):
            for name in names:
                planted = 0.31 if (name, target) == ("scottish", "arousal") else 0.0
                value = level - planted + rng.uniform(-0.03, 0.03)
                of = {"slice_by": by, "slice": f"{by}={name}", "num_segments": 160} | at
                yield row("concordance_cc", value, 0.07, **of)
                yield from quantile_rows(-0.1 * planted, **of)
                yield row("residual_mean", 0.031, 0.05, p_value=0.2, p_adjusted=0.876, **of)
                yield row("residual_mean_by_segment", 0.031, 0.02, p_adjusted=0.0123, **of)
        yield gap_row("accent=american-rest", 0.081, fails=False, **at)
        yield gap_row("accent=english-rest", 0.064, fails=False, **at)
        on_arousal = target == "arousal"
        yield gap_row(
            "accent=scottish-rest", -0.312 if on_arousal else -0.02, fails=on_arousal, **at
        )
        yield gap_row("accent=american-accent=english", 0.011, fails=False, **at)
        yield gap_row("accent=american-accent=scottish", 0.3, fails=on_arousal, **at)
        yield gap_row("accent=english-accent=scottish", None, fails=False, **at, **SUPPRESSED)
        yield gap_row("sex=female-sex=male", 0.024, fails=False, slice_by="sex", **at)
        score = {"slice_by": "sex", "slice": "sex=female-sex=male"} | at
        yield row("gender_fairness_score", 0.024, 0.09, **score)


def condition_rows(
    conditions: Iterable[str], *, target: str = "arousal", **at: object
) -> Iterable[dict]:
    """Each condition costs .02 more CCC than the one before; women lose .11 more than men."""
    at = {"target": target} | at
    for number, condition in enumerate(conditions, start=1):
        yield row("concordance_cc", 0.8 - 0.02 * number, **at | {"condition": condition})
        against = f"condition={condition}-condition=clean"
        of = at | {"slice_by": "condition", "slice": against, "condition": condition}
        yield row("concordance_cc_change", -0.02 * number, 0.005, p_value=0.2, **of)
        yield row("unchanged_share", 0.9 - 0.02 * number, **of)
        yield row("mean_shift", 0.011, 0.005, **of)
        women = of | {"slice_by": "condition,sex", "slice": f"{against},sex=female-sex=male"}
        tested = {"p_value": 0.001, "p_adjusted": 0.003, "minimum_detectable_effect": 0.077}
        yield row("concordance_cc_change_gap", -0.11, **women | tested)
        yield row("unchanged_share_gap", 0.012, **women | {"p_value": 0.4, "p_adjusted": 0.8})
        yield row("mean_shift_gap", None, **women | SUPPRESSED)


def break_point_row(family: str, value: float | None, **columns: object) -> dict:
    at = {"slice_by": "condition", "slice": f"condition={family}", "margin": 0.05}
    nothing = {"ci_low": None, "ci_high": None}
    return row("concordance_cc_break_point", value, **at | columns) | nothing


SUPPRESSED = {
    "verdict": "suppressed",
    "reason": "fewer than 2 speakers",
    "p_adjusted": None,
    "margin": None,
    "minimum_detectable_effect": None,
}


def emotion_rows(rng: np.random.Generator, **pair: object) -> Iterable[dict]:
    at = {"target": "emotion"} | pair
    yield row("unweighted_average_recall", 0.612, **at)
    yield row("accuracy", 0.634, **at)
    for emotion in EMOTIONS:
        yield row(f"recall[{emotion}]", rng.uniform(0.4, 0.9), 0.08, **at)
        yield row(f"precision[{emotion}]", rng.uniform(0.4, 0.9), 0.08, **at)
    for name in SEXES:
        of = {"slice_by": "sex", "slice": f"sex={name}", "num_segments": 240} | at
        yield row("unweighted_average_recall", 0.6 + rng.uniform(-0.03, 0.03), 0.07, **of)
    metric = "unweighted_average_recall_gap"
    yield gap_row("sex=female-sex=male", -0.031, fails=False, metric=metric, slice_by="sex", **at)


def speaker_table(
    rng: np.random.Generator,
    num: int,
    targets: Iterable[str],
    metric: str,
    name: str,
    **pair: object,
) -> pa.Table:
    """`num` speakers for each target; the first has no value."""
    parts = []
    for target in targets:
        values = np.clip(rng.normal(0.6, 0.13, num), -0.8, 0.86)
        values[0] = np.nan
        made = row(metric, 0.5, target=target, num_segments=34, num_speakers=1, **pair)
        columns = {field: [made.get(field)] * num for field in SPEAKERS.names}
        columns |= {"value": values, "ci_low": values - 0.12, "ci_high": values + 0.12}
        columns |= {"shrunk_value": values / 2 + 0.3, "shrunk_low": values / 2 + 0.2}
        columns |= {"shrunk_high": values / 2 + 0.4}
        columns |= {"speaker_id": [name.format(index) for index in range(num)]}
        columns |= {"reason": ["no variance", *[None] * (num - 1)]}
        parts.append(pa.table(columns, schema=SPEAKERS))
    return pa.concat_tables(parts)


def density_table(rng: np.random.Generator, num_segments: int = 480, **pair: str) -> pa.Table:
    columns: dict[str, list] = {
        name: []
        for name in (
            "model_version",
            "condition",
            "target",
            "truth_bin",
            "prediction_bin",
            "num_segments",
        )
    }
    for target in DIMENSIONS:
        truth = rng.beta(3, 3, num_segments)
        prediction = 0.5 + 0.8 * (truth - 0.5) + rng.normal(0, 0.08, num_segments)
        grid, _, _ = np.histogram2d(truth, np.clip(prediction, 0, 1), 20, [[0, 1], [0, 1]])
        for truth_bin, prediction_bin in zip(*np.nonzero(grid), strict=True):
            columns["model_version"].append(pair.get("model_version", "3"))
            columns["condition"].append(pair.get("condition", "clean"))
            columns["target"].append(target)
            columns["truth_bin"].append(int(truth_bin))
            columns["prediction_bin"].append(int(prediction_bin))
            columns["num_segments"].append(int(grid[truth_bin, prediction_bin]))
    return pa.table(columns)


def confusion_table(rng: np.random.Generator) -> pa.Table:
    pairs = [(truth, prediction) for truth in EMOTIONS for prediction in EMOTIONS]
    return pa.table(
        {
            "model_version": ["3"] * len(pairs),
            "condition": ["clean"] * len(pairs),
            "truth": [truth for truth, _ in pairs],
            "prediction": [prediction for _, prediction in pairs],
            "num_segments": [
                int(rng.integers(60, 90) if t == p else rng.integers(2, 20)) for t, p in pairs
            ],
        }
    )


def write_statistics(folder: str, rows: Iterable[dict]) -> None:
    table = pa.Table.from_pylist(list(rows), schema=STATISTICS)
    storage.write_table(storage.join(folder, "statistics.parquet"), table)


@pytest.fixture
def make_audit(tmp_path: Path) -> MakeAudit:
    """make(rows=[...] | kind="dimensions"|"emotion", num_speakers=14, audit={...}) -> folder"""

    def make(
        kind: str = "dimensions",
        *,
        rows: Iterable[dict] | None = None,
        num_speakers: int = 14,
        speaker_name: str = "speaker-{:03d}",
        audit: dict | None = None,
        pairs: Iterable[dict] = ({},),
        name: str = "audit",
    ) -> str:
        folder = str(tmp_path / name)
        rng = np.random.default_rng(7)
        makes = dimension_rows if kind == "dimensions" else emotion_rows
        pairs = list(pairs)
        made = [r for pair in pairs for r in makes(rng, **pair)] if rows is None else list(rows)
        write_statistics(folder, made)
        targets, metric = (
            (DIMENSIONS, "concordance_cc") if kind == "dimensions" else (("emotion",), "accuracy")
        )
        speakers = [
            speaker_table(rng, num_speakers, targets, metric, speaker_name, **pair)
            for pair in pairs
        ]
        storage.write_table(f"{folder}/speakers.parquet", pa.concat_tables(speakers))
        ledger = [ledger_of(kind, pair) for pair in pairs]
        if kind == "dimensions":
            densities = pa.concat_tables([density_table(rng, **pair) for pair in pairs])
            storage.write_table(f"{folder}/densities.parquet", densities)
        else:
            storage.write_table(f"{folder}/confusion.parquet", confusion_table(rng))
        storage.write_json(
            f"{folder}/audit.json", AUDIT | {"ledger": {"models": ledger}} | (audit or {})
        )
        return folder

    return make


def ledger_of(kind: str, pair: dict) -> dict:
    """480 of 482 predictions matched; as pipelines.join_ledger writes it."""
    scored = DIMENSIONS if kind == "dimensions" else ("emotion",)
    counts = {
        "predictions": 482,
        "duplicate_predictions": 0,
        "conflicting_duplicates": 0,
        "unmatched_predictions": 2,
        "matched": 480,
        "matched_without_speaker": 0,
        "unmatched_metadata": 960,
    }
    for target in (*DIMENSIONS, "emotion"):
        num = 480 if target in scored else 0
        counts |= {f"{target}_scored": num, f"{target}_prediction_missing": 480 - num}
        counts |= {f"{target}_truth_missing": 0}
    return {"model_version": "3", "condition": "clean"} | pair | counts


INPUTS = "1a" * 32

AUDIT = {
    "schema_version": 1,
    "inputs_sha256": INPUTS,
    "seed": 0,
    "num_replicates": 1000,
    "configuration": {"slices": ["accent", "sex"], "truth_range": [0.0, 1.0]},
    "notes": ["model 3, clean: 2 predictions are not in the metadata"],
    "runs": [{"model_uri": "models:/demo/3", "model_version": "3", "weights_sha256": "0f" * 32}],
}


@pytest.fixture
def hostile_rows() -> Callable[[str], list[dict]]:
    """Rows in which every name is the same hostile text."""

    def make(name: str) -> list[dict]:
        rng = np.random.default_rng(3)
        rows = list(dimension_rows(rng))
        at = {"slice_by": name, "model_version": "3"}
        rows += [
            row("concordance_cc", 0.5, slice=f"{name}={value}", **at) for value in (name, "plain")
        ]
        comparison = f"{name}={name}-{name}=plain"
        rows.append(gap_row(comparison, -0.2, fails=True, **at))
        rows.append(gap_row(f"{name}=plain-rest", None, fails=False, **at, **SUPPRESSED))
        rows.append(row(f"recall[{name}]", 0.5, target="emotion"))
        return rows

    return make


@pytest.fixture
def many_groups() -> Callable[..., list[dict]]:
    """More conditions, columns and groups than a page can hold, with long names."""

    def make(*, num_pairs: int, num_columns: int, num_slices: int, name: str) -> list[dict]:
        rng = np.random.default_rng(4)
        rows = []
        for pair in range(num_pairs):
            at = {"condition": f"c{pair}"}
            rows += dimension_rows(rng, **at)
            for column in range(num_columns):
                by = f"{column}{name}"
                for index in range(num_slices):
                    of = at | {"slice_by": by, "slice": f"{by}={index}{name}"}
                    rows.append(row("concordance_cc", 0.5, **of))
                    comparison = f"{of['slice']}-rest"
                    rows.append(gap_row(comparison, -0.2, fails=True, slice_by=by, **at))
        return rows

    return make


@pytest.fixture(name="row")
def the_row() -> Callable[..., dict]:
    """row(metric, value, width=.04, **columns) -> a row of statistics.parquet"""
    return row


@pytest.fixture(name="quantile_rows")
def the_quantile_rows() -> Callable[..., Iterable[dict]]:
    """quantile_rows(shift, **columns) -> quantiles of residuals"""
    return quantile_rows


@pytest.fixture(name="pair_row")
def the_pair_row() -> Callable[..., dict]:
    """pair_row(metric, slice_by, comparison, value, p, **columns) -> one side minus another"""
    return pair_row


@pytest.fixture(name="condition_rows")
def the_condition_rows() -> Callable[..., Iterable[dict]]:
    """condition_rows(names, target="arousal", **columns) -> what conditions do"""
    return condition_rows


@pytest.fixture(name="break_point_row")
def the_break_point_row() -> Callable[..., dict]:
    """break_point_row(family, value, **columns) -> from which level on too much is lost"""
    return break_point_row


@pytest.fixture(name="gap_row")
def the_gap_row() -> Callable[..., dict]:
    """gap_row(comparison, value, fails=..., **columns) -> a comparison of groups"""
    return gap_row


@pytest.fixture(name="dimension_rows")
def the_dimension_rows() -> Callable[[], list[dict]]:
    """dimension_rows() -> the statistics of one model, with a planted gap"""
    return lambda: list(dimension_rows(np.random.default_rng(5)))


def comparison(outcome: str = "pass", **fields: object) -> Comparison:
    """CCC of arousal, .012 worse where nothing else is said; the margin is .02."""
    named = {"kind": "statistic", "condition": "clean", "slice_by": "", "slice": ""}
    named |= {"target": "arousal", "metric": "concordance_cc", "margin": 0.02}
    named |= {"candidate": 0.733, "champion": 0.745, "worsening": 0.012}
    named |= {"worsening_low": 0.008, "worsening_high": 0.016, "outcome": outcome}
    return Comparison(**(named | {"counts_as": "pass" if outcome == "pass" else "fail"} | fields))


def decision(*comparisons: Comparison, role: str = "candidate", **fields: object) -> Decision:
    """A decision about the audit of `make_audit`, which is of this role."""
    sides = {
        side: Side(
            audit=f"audits/{side}",
            inputs_sha256=INPUTS if side == role else "2b" * 32,
            model_version="4" if side == "candidate" else "3",
            model_uri=f"models:/demo/{4 if side == 'candidate' else 3}",
            weights_sha256=("c4" if side == "candidate" else "c3") * 32,
        )
        for side in ("candidate", "champion")
    }
    made = sides | {"comparisons": comparisons, "config": {}, "notes": ()}
    return Decision(**(made | fields))


@pytest.fixture(name="comparison")
def the_comparison() -> Callable[..., Comparison]:
    """comparison(outcome="pass", **fields) -> a comparison of a gate"""
    return comparison


@pytest.fixture(name="decision")
def the_decision() -> Callable[..., Decision]:
    """decision(*comparisons, role="candidate", **fields) -> what a gate decided"""
    return decision
