"""A gate on audits whose replicates were computed here, another way than the audit does it."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from orchestration.gate import NOT_KEPT, decide
from orchestration.gate_config import GapRule, GateConfig, Policies, StatisticRule
from orchestration.gate_text import gate_text
from orchestration.gate_worsening import FEW_SPEAKERS
from pipelines.transforms.replicates import REPLICATE_ROWS
from pipelines.transforms.sketching import SKETCH_ROWS
from ser_model import storage
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.schema import ConfigError, RunError

NUM_REPLICATES = 300
SEGMENTS_EACH = 20
ONLY_CCC = GateConfig(statistics=(StatisticRule(metric="concordance_cc", margin=0.02),))


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Truth of segments, the speaker of each, and who is female."""

    truth: np.ndarray
    speaker: np.ndarray
    weights: np.ndarray

    @property
    def is_female(self):
        return self.speaker % 2 == 0


def make_corpus(seed=0, num_speakers=60):
    speaker = np.repeat(np.arange(num_speakers), SEGMENTS_EACH)
    keys = speaker_keys([f"speaker {n}" for n in range(num_speakers)])
    drawn = poisson_weights(keys, seed=0, num_replicates=NUM_REPLICATES)
    weights = np.vstack([np.ones(num_speakers), drawn])[:, speaker]
    return Corpus(np.random.default_rng(seed).uniform(0, 1, len(speaker)), speaker, weights)


def predict(corpus, noise, seed, *, of_speakers=0.0):
    random = np.random.default_rng(seed)
    own = random.normal(0, of_speakers, corpus.speaker.max() + 1)[corpus.speaker]
    return corpus.truth + own + random.normal(0, noise, len(corpus.truth))


def weighted_ccc(truth, said, weights):
    """Lin's coefficient of copies, straight from the definition; [B1]."""
    with np.errstate(invalid="ignore"):
        w = weights / weights.sum(axis=1, keepdims=True)
        mean_t, mean_s = w @ truth, w @ said
        both = w @ (truth * said) - mean_t * mean_s
        spread = w @ truth**2 - mean_t**2 + w @ said**2 - mean_s**2
        return 2 * both / (spread + (mean_t - mean_s) ** 2)


def replicate_row(corpus, values, mask, **names):
    return {
        "model_version": "m",
        "condition": "clean",
        "slice_by": "",
        "slice": "",
        "is_rest": False,
        "target": "arousal",
        "metric": "concordance_cc",
        "num_segments": int(mask.sum()),
        "num_speakers": len(set(corpus.speaker[mask])),
        "effective_speakers": float(len(set(corpus.speaker[mask]))),
        "num_compared_speakers": len(set(corpus.speaker)),
        "value": None if np.isnan(values[0]) else values[0],
        "reason": "no variance" if np.isnan(values[0]) else None,
        "replicates": values[1:],
        **names,
    }


def write_audit(
    folder: Path, corpus, said, *, metadata="same", scored=None, weights_sha256="w", **changes
):
    """An audit of CCC of arousal: all segments, and both sexes."""
    everyone = np.ones(len(corpus.truth), dtype=bool)
    sides = {"": ("", everyone)}
    sides |= {f"sex={n}": ("sex", m) for n, m in changes.pop("groups", sexes(corpus)).items()}
    rows = []
    for name, (slice_by, mask) in sides.items():
        values = weighted_ccc(corpus.truth[mask], said[mask], corpus.weights[:, mask])
        rows.append(replicate_row(corpus, values, mask, slice=name, slice_by=slice_by))
    rows += changes.pop("more_rows", [])
    hashes = np.arange(len(corpus.truth), dtype=np.uint64)[
        everyone if scored is None else scored
    ] * np.uint64(2**32)
    sketch = {
        "model_version": "m",
        "condition": "clean",
        "target": "arousal",
        "num_segments": len(hashes),
        "fingerprint": int(hashes.sum(dtype=np.uint64)),
        "smallest": np.sort(hashes)[:2048],
    }
    tables = {
        "replicates.parquet": pa.Table.from_pylist(rows, schema=REPLICATE_ROWS),
        "sketches.parquet": pa.Table.from_pylist([sketch], schema=SKETCH_ROWS),
    }
    for name, table in tables.items():
        storage.write_table(str(folder / name), table)
    configuration = {"strata": [], "slices": ["sex"], "cross_corpus": False}
    audit = {
        "configuration": configuration | changes.pop("configuration", {}),
        "seed": 0,
        "num_replicates": NUM_REPLICATES,
        "metadata": {"sha256": metadata},
        "code_version": "1",
        "inputs_sha256": "i",
        "runs": [{"identity": {"weights_sha256": weights_sha256, "model_uri": "models:/m/1"}}],
        "ledger": {"models": [{"model_version": "m"}]},
        "tables_sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in tables
        },
    }
    storage.write_json(str(folder / "audit.json"), audit | changes)
    return str(folder)


def sexes(corpus):
    return {"female": corpus.is_female, "male": ~corpus.is_female}


@pytest.fixture
def corpus():
    return make_corpus()


def write_both(tmp_path, corpus, candidate, champion, **changes):
    return (
        write_audit(tmp_path / "candidate", corpus, candidate, **changes),
        write_audit(tmp_path / "champion", corpus, champion),
    )


def of_kind(decision, kind):
    return [one for one in decision.comparisons if one.kind == kind]


@pytest.mark.parametrize("num_speakers", [1, 2, 3, 20])
@pytest.mark.parametrize("seed", range(10))
def test_identical_models_never_fail(tmp_path, seed, num_speakers):
    corpus = make_corpus(seed, num_speakers)
    said = predict(corpus, 0.2, seed, of_speakers=0.2)
    strict = GateConfig(
        statistics=(StatisticRule(metric="concordance_cc", margin=1e-6),),
        gaps=(GapRule(metric="concordance_cc", margin=1e-6),) if num_speakers > 1 else (),
        inconclusive=Policies(statistics="fail", gaps="fail"),
    )
    sides = write_both(tmp_path, corpus, said, said.copy())
    for config in (None, strict):
        decision = decide(*sides, config)
        assert decision.outcome == "pass", decision.comparisons
        assert {one.worsening for one in decision.comparisons} == {0.0}


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_drop_beyond_the_margin_fails(tmp_path, seed):
    corpus = make_corpus(seed)
    said = predict(corpus, 0.15, seed)
    worse = said + np.random.default_rng(seed + 99).normal(0, 0.12, len(said))
    decision = decide(*write_both(tmp_path, corpus, worse, said))
    assert decision.outcome == "fail"
    (statistic,) = of_kind(decision, "statistic")
    assert statistic.outcome == "fail"
    assert statistic.worsening > 0.03
    assert statistic.worsening_low > 0.02


@pytest.mark.parametrize("seed", range(5))
def test_a_drop_within_the_margin_passes_with_enough_speakers(tmp_path, seed):
    corpus = make_corpus(seed, num_speakers=200)
    said = predict(corpus, 0.15, seed)
    slightly = said + np.random.default_rng(seed + 99).normal(0, 0.02, len(said))
    decision = decide(*write_both(tmp_path, corpus, slightly, said), ONLY_CCC)
    (statistic,) = decision.comparisons
    assert statistic.worsening > 0
    assert decision.outcome == "pass"


def test_with_few_speakers_it_is_inconclusive_and_the_policy_decides(tmp_path):
    corpus = make_corpus(1, num_speakers=4)
    said = [predict(corpus, 0.2, seed, of_speakers=0.1) for seed in (3, 4)]
    sides = write_both(tmp_path, corpus, *said)
    decision = decide(*sides, ONLY_CCC)
    assert (decision.outcome, decision.is_accepted) == ("inconclusive", False)
    lenient = dataclasses.replace(ONLY_CCC, inconclusive=Policies(statistics="pass"))
    allowed = decide(*sides, lenient)
    assert (allowed.outcome, allowed.is_accepted) == ("pass", True)
    assert allowed.comparisons[0].outcome == "inconclusive"
    assert "inconclusive, counts as pass" in gate_text(allowed, "gate.json")


def test_one_speaker_shows_nothing_of_others(tmp_path):
    corpus = make_corpus(0, num_speakers=1)
    said = [predict(corpus, 0.1, seed) for seed in (1, 2)]
    (statistic,) = decide(*write_both(tmp_path, corpus, *said), ONLY_CCC).comparisons
    assert (statistic.outcome, statistic.reason) == ("inconclusive", FEW_SPEAKERS)


def test_bounds_equal_those_from_raw_rows(tmp_path, corpus):
    """Each replicate repeats the segments of the drawn speakers; Student's t comes from scipy."""
    said = [predict(corpus, noise, seed) for noise, seed in ((0.2, 1), (0.18, 2))]
    (found,) = decide(*write_both(tmp_path, corpus, *said), ONLY_CCC).comparisons

    def ccc(values, rows):
        truth, values = corpus.truth[rows], values[rows]
        both = np.cov(truth, values, ddof=0)
        return 2 * both[0, 1] / (both.trace() + (truth.mean() - values.mean()) ** 2)

    numbers = np.arange(len(corpus.truth))
    drops = [
        ccc(said[1], rows) - ccc(said[0], rows)
        for rows in (np.repeat(numbers, drawn.astype(int)) for drawn in corpus.weights)
    ]
    error = np.std(drops[1:]) * np.sqrt(60 / 59)
    low, high = stats.t.interval(0.9, 59, loc=drops[0], scale=error)
    assert found.worsening == pytest.approx(drops[0], abs=1e-9)
    assert (found.worsening_low, found.worsening_high) == pytest.approx((low, high), abs=1e-5)
    p_value = stats.t.sf((drops[0] - 0.02) / error, 59)
    assert found.p_value == pytest.approx(p_value, abs=1e-4)


def test_a_gap_that_widens_beyond_the_margin_fails_and_one_that_closes_passes(tmp_path, corpus):
    fair = predict(corpus, 0.1, 3)
    noise = np.random.default_rng(4).normal(0, 0.4, len(fair))
    unfair = fair + np.where(corpus.is_female, noise, 0)
    config = GateConfig(gaps=(GapRule(metric="concordance_cc", margin=0.05),))
    widened = decide(*write_both(tmp_path / "a", corpus, unfair, fair), config)
    (gap,) = widened.comparisons
    assert (gap.slice, gap.metric, gap.outcome) == (
        "sex=female-sex=male",
        "concordance_cc_gap",
        "fail",
    )
    assert gap.candidate < -0.2 < abs(gap.champion)
    assert gap.worsening == pytest.approx(abs(gap.candidate) - abs(gap.champion))
    closed = decide(*write_both(tmp_path / "b", corpus, fair, unfair), config)
    assert closed.outcome == "pass"
    turned = fair + np.where(corpus.is_female, 0, noise)
    other_way = decide(*write_both(tmp_path / "c", corpus, turned, unfair), config)
    assert other_way.comparisons[0].candidate > 0.2
    assert abs(other_way.comparisons[0].worsening) < 0.1


def test_each_slice_is_held_against_the_rest_where_there_are_more_than_two(tmp_path, corpus):
    said = predict(corpus, 0.2, 1)
    groups = {str(n): corpus.speaker % 3 == n for n in range(3)}
    rests = [
        replicate_row(
            corpus,
            weighted_ccc(corpus.truth[~mask], said[~mask], corpus.weights[:, ~mask]),
            ~mask,
            slice_by="sex",
            slice=f"sex={name}",
            is_rest=True,
        )
        for name, mask in groups.items()
    ]
    same = {"groups": groups, "more_rows": rests}
    sides = [write_audit(tmp_path / side, corpus, said, **dict(same)) for side in "ab"]
    gaps = of_kind(decide(*sides), "gap")
    assert [gap.slice for gap in gaps] == ["sex=0-rest", "sex=1-rest", "sex=2-rest"]
    rest = weighted_ccc(
        *(values[~groups["0"]] for values in (corpus.truth, said)), corpus.weights[:1, ~groups["0"]]
    )
    own = weighted_ccc(
        *(values[groups["0"]] for values in (corpus.truth, said)), corpus.weights[:1, groups["0"]]
    )
    assert gaps[0].candidate == pytest.approx(own[0] - rest[0], abs=1e-12)


def test_failures_are_corrected_for_being_many_statistics_and_gaps_apart(tmp_path, corpus):
    said = predict(corpus, 0.15, 1)
    worse = said + np.random.default_rng(9).normal(0, 0.09, len(said))
    rules = tuple(
        StatisticRule(metric="concordance_cc", margin=0.02, slice_by=by) for by in ("", "sex")
    )
    config = GateConfig(statistics=rules, gaps=(GapRule(metric="concordance_cc", margin=0.05),))
    decision = decide(*write_both(tmp_path, corpus, worse, said), config)
    (gap,) = of_kind(decision, "gap")
    assert gap.p_adjusted == gap.p_value
    statistics = sorted(of_kind(decision, "statistic"), key=lambda one: one.p_value)
    first, second, third = (one.p_value for one in statistics)
    expected = [3 * first, max(3 * first, 2 * second), max(3 * first, 2 * second, third)]
    assert 0 < first < 0.2
    assert [one.p_adjusted for one in statistics] == pytest.approx(np.minimum(expected, 1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": "other"}, r"hash of the metadata is other in the one and same in the other"),
        ({"seed": 1}, r"seed is 1 in the one and 0 .* audit both with the same --seed"),
        ({"num_replicates": 9}, "the same --replicates"),
        ({"configuration": {"truth_range": [1, 7]}}, "the same --truth-range"),
        ({"configuration": {"slices": []}}, "the same --slice"),
        ({"ledger": {"models": [{"model_version": v} for v in "ab"]}}, "of the models a, b"),
        ({"tables_sha256": {}}, r"replicates.parquet is not the one that the audit wrote"),
    ],
)
def test_audits_that_cannot_be_compared_are_refused(tmp_path, corpus, changes, message):
    said = predict(corpus, 0.2, 1)
    with pytest.raises(RunError, match=message):
        decide(*write_both(tmp_path, corpus, said, said, **changes))


def test_a_table_of_another_audit_is_noticed(tmp_path, corpus):
    sides = write_both(tmp_path, corpus, predict(corpus, 0.4, 1), predict(corpus, 0.1, 2))
    better = Path(sides[1], "replicates.parquet").read_bytes()
    Path(sides[0], "replicates.parquet").write_bytes(better)
    with pytest.raises(RunError, match=r"candidate/replicates.parquet is not the one"):
        decide(*sides)


def test_what_is_no_audit_or_of_an_earlier_version(tmp_path, corpus):
    side = write_audit(tmp_path / "a", corpus, predict(corpus, 0.2, 1))
    with pytest.raises(RunError, match=r"nowhere is no audit: audit.json is not there"):
        decide(side, str(tmp_path / "nowhere"))
    audit = json.loads(Path(side, "audit.json").read_text())
    del audit["tables_sha256"]
    storage.write_json(str(tmp_path / "old" / "audit.json"), audit)
    with pytest.raises(
        RunError, match="not made by this version of serval audit; audit the run anew"
    ):
        decide(side, str(tmp_path / "old"))
    (tmp_path / "old" / "audit.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        decide(str(tmp_path / "old"), side)


def test_few_rejected_segments_are_noted_and_many_refused(tmp_path, corpus):
    said = predict(corpus, 0.2, 1)
    champion = write_audit(tmp_path / "champion", corpus, said)
    number = np.arange(len(said))
    few = write_audit(tmp_path / "few", corpus, said, scored=number >= 12)
    (note,) = decide(few, champion).notes
    assert note == (
        "arousal, clean: 12 segments were scored by one model alone (candidate 1188, champion "
        "1200 segments); they are compared all the same"
    )
    many = write_audit(tmp_path / "many", corpus, said, scored=number >= 13)
    with pytest.raises(RunError, match=r"13 segments were scored by one model alone .* than 1%"):
        decide(many, champion)
    moved = write_audit(tmp_path / "moved", corpus, said, scored=number % 4 != 0)
    with pytest.raises(RunError, match=r"300 segments were scored by one model alone"):
        decide(moved, champion)


def test_a_slice_that_the_candidate_lacks_is_inconclusive(tmp_path, corpus):
    said = predict(corpus, 0.2, 1)
    groups = {"female": corpus.is_female}
    sides = write_both(tmp_path, corpus, said, said, groups=groups)
    (gap,) = of_kind(decide(*sides), "gap")
    assert (gap.outcome, gap.counts_as, gap.reason) == ("inconclusive", "pass", NOT_KEPT)


def test_a_candidate_without_a_value_is_inconclusive_and_a_champion_without_is_left_out(
    tmp_path, corpus
):
    said = predict(corpus, 0.2, 1)

    def with_pcc(value, folder):
        values = np.full(NUM_REPLICATES + 1, value)
        mask = np.ones(len(said), dtype=bool)
        row = replicate_row(corpus, values, mask, metric="pearson_cc")
        return write_audit(folder, corpus, said, more_rows=[row])

    has, lacks = with_pcc(0.9, tmp_path / "has"), with_pcc(np.nan, tmp_path / "lacks")
    config = GateConfig(
        statistics=(*ONLY_CCC.statistics, StatisticRule(metric="pearson_cc", margin=0.02))
    )
    pcc = decide(lacks, has, config).comparisons[1]
    assert (pcc.outcome, pcc.reason, pcc.candidate) == ("inconclusive", "no variance", None)
    decision = decide(has, lacks, config)
    assert len(decision.comparisons) == 1
    assert decision.notes == (
        "left out, as the champion has no value: pearson_cc of arousal, clean, all segments",
    )
    only = GateConfig(statistics=config.statistics[1:])
    with pytest.raises(RunError, match="has no value of anything that the gate asks for"):
        decide(has, lacks, only)


def test_rules_that_select_nothing_or_the_same_twice(tmp_path, corpus):
    said = predict(corpus, 0.2, 1)
    sides = write_both(tmp_path, corpus, said, said)

    def rule(**more):
        return StatisticRule(metric="concordance_cc", margin=0.02, **more)

    with pytest.raises(ConfigError, match=r"statistics\[0\] .* target: 'arousal'"):
        decide(*sides, GateConfig(statistics=(rule(target="valence"),)))
    with pytest.raises(ConfigError, match=r"condition: 'clean'"):
        decide(*sides, GateConfig(statistics=(rule(condition="noise"),)))
    with pytest.raises(ConfigError, match=r"statistics\[1\] .* another entry asks for already"):
        decide(*sides, GateConfig(statistics=(rule(), rule(target="arousal"))))
    both = GateConfig(statistics=(rule(slice_by="sex"), rule()))
    found = decide(*sides, both)
    assert [one.slice for one in found.comparisons] == ["sex=female", "sex=male", ""]


def test_the_same_audits_give_the_same_decision(tmp_path, corpus):
    sides = write_both(tmp_path, corpus, predict(corpus, 0.2, 1), predict(corpus, 0.2, 2))
    first, second = (storage.to_json_bytes(decide(*sides).to_json()) for _ in range(2))
    assert first == second
    content = json.loads(first)
    assert content["candidate"]["weights_sha256"] == "w"
    assert content["config"]["inconclusive"] == {"statistics": "fail", "gaps": "pass"}


def test_hostile_names_stay_names(tmp_path, corpus):
    hostile = '\x1b[2J"}]\u202e\nPASS <script>'
    said = predict(corpus, 0.2, 1)
    groups = {hostile: corpus.is_female, "male": ~corpus.is_female}
    sides = [
        write_audit(
            tmp_path / side, corpus, said, groups=groups, ledger=ledger_of(f"m\x1b]0;{side}\n")
        )
        for side in "ab"
    ]
    decision = decide(*sides)
    content = json.loads(storage.to_json_bytes(decision.to_json()))
    (gap,) = [one for one in content["comparisons"] if one["kind"] == "gap"]
    assert gap["slice"] == f"sex={hostile}-sex=male"
    text = gate_text(decision, "gate.json")
    assert not set(text) & {"\x1b", "\u202e"}
    assert [line for line in text.splitlines() if line.startswith("PASS")] == [text.splitlines()[0]]


def ledger_of(model_version):
    return {"models": [{"model_version": model_version}]}
