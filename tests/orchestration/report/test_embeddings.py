"""Pictures of embeddings: every sampled segment where it belongs, in few bytes."""

import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from orchestration.report import embeddings
from orchestration.report.audit_folder import read_audit
from orchestration.report.embeddings import GRID, MAX_PLOT_BYTES, OTHER, embedding_panel, path_of
from orchestration.report.render import render_report
from pipelines.transforms.projecting import EMBEDDED_ROWS
from ser_model import storage
from ser_model.schema import DIMENSIONS, STATISTICS


def sample(num, model="3", seed=0, speaker="speaker {}", sex=("female", "male")):
    """EMBEDDED_ROWS of `num` segments of 20 speakers; two of them say "other" of their sex."""
    random = np.random.default_rng(seed)
    sexes = [sex[n % 2] if n > 1 else "other" for n in range(num)]
    columns = {name: [None] * num for name in EMBEDDED_ROWS.names}
    columns |= {
        "model_version": [model] * num,
        "condition": ["clean"] * num,
        "segment_id": [f"{n:05}" for n in range(num)],
        "speaker_id": [speaker.format(n % 20) for n in range(num)],
        "x": random.normal(0, 40, num),
        "y": random.normal(0, 20, num),
        "attributes": [[("sex", value)] for value in sexes],
    }
    for dimension in DIMENSIONS:
        columns[f"truth_{dimension}"] = random.uniform(0, 1, num)
        columns[f"prediction_{dimension}"] = random.uniform(0, 1, num)
    return pa.table(columns, schema=EMBEDDED_ROWS)


@pytest.fixture
def with_embeddings(make_audit):
    """make(table) -> an audit folder with these embeddings and numbers on their neighbours."""

    def make(table, **options):
        folder = make_audit(**options)
        storage.write_table(storage.join(folder, "embeddings.parquet"), table)
        uri = storage.join(folder, "statistics.parquet")
        found = [
            ("embedding", "neighbour_share[sex]", 0.7654, 0.7, 0.8),
            ("embedding", "neighbour_share_by_chance[sex]", 0.4567, 0.4, 0.5),
            ("valence", "neighbour_pearson_cc", 0.3456, 0.3, 0.4),
        ]
        nothing = dict.fromkeys(STATISTICS.names) | {
            "model_version": "3",
            "condition": "clean",
            "slice_by": "",
            "slice": "",
            "num_segments": 100,
        }
        rows = [
            nothing
            | dict(zip(("target", "metric", "value", "ci_low", "ci_high"), one, strict=True))
            for one in found
        ]
        statistics = storage.read_table(uri).select(STATISTICS.names)
        more = pa.Table.from_pylist(rows, schema=STATISTICS)
        storage.write_table(uri, pa.concat_tables([statistics.cast(STATISTICS), more]))
        return folder

    return make


def points_of(path):
    """Where a path's marks are: as a browser adds up its steps."""
    steps = re.findall(r"m(-?\d+) ?(-?\d+)h0", path)
    assert "".join(f"m{x}{y}h0" if y[0] == "-" else f"m{x} {y}h0" for x, y in steps) == path
    return [tuple(point) for point in np.cumsum(np.array(steps, dtype=int).reshape(-1, 2), axis=0)]


def panel_of(folder):
    return embedding_panel(read_audit(folder), {})


def test_a_path_leads_to_every_point():
    points = np.random.default_rng(1).integers(0, GRID, (300, 2))
    assert sorted(points_of(path_of(points))) == sorted(map(tuple, points.tolist()))


def test_every_segment_is_drawn_in_the_colour_of_its_value(with_embeddings):
    table = sample(120)
    (model,) = panel_of(with_embeddings(table)).models
    assert model.num_drawn == model.num_segments == 120
    plot = next(plot for plot in model.plots if plot.name == "sex")
    places = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1).astype(float)
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    scaled = (places - middle) / np.ptp(places, axis=0).max() * GRID + GRID / 2
    for group in plot.groups:
        is_of_group = [
            pairs[0][1] == group.label or (pairs[0][1] == "other" and group.label == OTHER)
            for pairs in table["attributes"].to_pylist()
        ]
        expected = Counter(map(tuple, np.rint(scaled[is_of_group]).astype(int).tolist()))
        assert Counter(points_of(group.path)) == expected
        assert group.num_segments == sum(is_of_group)


def test_small_groups_are_not_told_apart(with_embeddings):
    audit = {"configuration": {"min_segments": 3, "min_speakers": 2}}
    (model,) = panel_of(with_embeddings(sample(120), audit=audit)).models
    plot = next(plot for plot in model.plots if plot.name == "sex")
    assert [group.label for group in plot.groups] == [OTHER, "female", "male"]


def test_fifths_hold_a_fifth_each_and_rise(with_embeddings):
    table = sample(200)
    (model,) = panel_of(with_embeddings(table)).models
    plot = next(plot for plot in model.plots if plot.name == "truth of arousal")
    assert [group.num_segments for group in plot.groups] == [40] * 5
    assert [group.colour for group in plot.groups] == [f"fifth-{n}" for n in range(5)]


def test_the_largest_speakers_have_colours(with_embeddings):
    (model,) = panel_of(with_embeddings(sample(125))).models
    plot = next(plot for plot in model.plots if plot.name == "speaker")
    # Speakers 0 to 4 have seven segments, all others six: of these the first in the alphabet.
    shown = sorted(f"speaker {n}" for n in (0, 1, 2, 3, 4, 10, 11, 12))
    assert [group.label for group in plot.groups] == [OTHER, *shown]
    assert [group.num_segments for group in plot.groups][:3] == [125 - 5 * 7 - 3 * 6, 7, 7]


def test_pictures_stay_small_whatever_there_is_to_draw(with_embeddings, tmp_path):
    tables = [sample(2000, model=str(n), seed=n) for n in range(8)]
    folder = with_embeddings(pa.concat_tables(tables))
    panel = panel_of(folder)
    assert len(panel.models) == embeddings.MAX_MODELS
    assert panel.num_models == 8
    report = tmp_path / "report.html"
    render_report(folder, str(report))
    part = report.read_text().partition('<h2 id="embeddings">')[2].partition("<h2")[0]
    figures = sum(len(figure.encode()) for figure in re.findall("<figure>.*?</figure>", part, re.S))
    assert 0.6 * MAX_PLOT_BYTES < figures <= MAX_PLOT_BYTES


def test_numbers_stand_beside_the_pictures(with_embeddings, tmp_path):
    report = tmp_path / "report.html"
    folder = with_embeddings(sample(60))
    render_report(folder, str(report))
    html = report.read_text()
    for value in ("0.7654", "0.4567", "0.3456"):
        assert f'<data value="{value}">' in html
    for title in ("truth of arousal", "sex", "speaker"):
        assert f"coloured by {title}</title>" in html
    first = report.read_bytes()
    render_report(folder, str(report))
    assert report.read_bytes() == first


def test_without_embeddings_nothing_is_said_of_them(make_audit, tmp_path):
    render_report(make_audit(), str(tmp_path / "report.html"))
    assert "mbedding" not in (tmp_path / "report.html").read_text()


def test_without_positions_there_are_numbers_alone(with_embeddings, tmp_path):
    table = sample(8)
    for name in ("x", "y"):
        at = table.column_names.index(name)
        table = table.set_column(at, EMBEDDED_ROWS.field(name), pa.nulls(8, pa.float32()))
    folder = with_embeddings(table)
    (model,) = panel_of(folder).models
    assert model.plots == ()
    render_report(folder, str(tmp_path / "report.html"))
    html = (tmp_path / "report.html").read_text()
    assert "too few, or too much alike, for a picture" in html
    assert '<data value="0.7654">' in html


def test_names_from_data_are_escaped_and_cut(with_embeddings, tmp_path):
    hostile = '<script>alert("1")</script>' + "\u202e" + "x" * 300
    table = sample(120, speaker=hostile + "{}", sex=(hostile, "male"))
    render_report(with_embeddings(table), str(tmp_path / "report.html"))
    html = (tmp_path / "report.html").read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "x" * 100 not in html
