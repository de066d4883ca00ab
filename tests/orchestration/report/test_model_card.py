"""The model card: what the hub reads of it, and that nothing in the data can break out of it."""

import re

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import EvalResult
from markdown_it import MarkdownIt

from orchestration.report.render import render_report
from ser_model import storage

HOSTILE = (
    '"><script>alert(1)</script>',
    "--- \n---\nlicense: mit\n---",
    "[click](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "| a | b |\n|---|---|\n# heading",
    "`code` *bold* __under__ ~~gone~~ <b>bold</b> http://evil.example www.evil.example",
    "\u202egnp.exe\u202c \u05d0\u05d1\u05d2 \x00\x1b[31m",
    "{{ 7 * 7 }} {% raw %} & &amp; &lt;script&gt;",
    "yes: [no, {a: b}] # comment: &anchor *alias !!python/object:os.system",
    "n" * 5000,
)


def card_of(folder: str) -> str:
    render_report(folder, f"{folder}/report.html")
    return storage.read_bytes(f"{folder}/model_card.md").decode()


def front_matter(card: str) -> dict:
    _, matter, _ = card.split("---\n", maxsplit=2)
    return yaml.safe_load(matter)


def test_the_hub_reads_what_the_statistics_say(make_audit) -> None:
    folder = make_audit()
    results: list[EvalResult] = ModelCard(card_of(folder)).data.eval_results
    statistics = storage.read_table(f"{folder}/statistics.parquet").to_pylist()
    rows = {(r["target"], r["metric"]): r for r in statistics if r["slice_by"] == ""}
    assert len(results) == 15
    for result in results:
        row = rows[result.metric_name.rpartition(" ")[2], result.metric_type]
        assert result.metric_value == row["value"]
        args = result.metric_args
        assert (args["ci_low"], args["ci_high"]) == (row["ci_low"], row["ci_high"])
        assert args["num_speakers"] == row["num_speakers"]
        assert result.dataset_config == "clean"
        assert result.task_type == "audio-classification"


def test_the_card_says_what_the_report_says(make_audit) -> None:
    card = card_of(make_audit())
    assert "accent=scottish is predicted worse than the rest on arousal by .312 CCC" in card
    for heading in ("Intended use", "Evaluation", "Verdicts", "Limits", "Provenance"):
        assert f"\n## {heading}\n" in card
    assert "| Are groups by accent treated alike? | Fail |" in card
    assert "synthetic" not in card


def test_every_model_has_results_on_clean_audio_or_else_under_its_conditions(make_audit) -> None:
    pairs = [{}, {"condition": "babble"}, {"model_version": "4", "condition": "babble"}]
    matter = front_matter(card_of(make_audit(pairs=pairs)))
    found = [
        (model["name"], [result["dataset"]["config"] for result in model["results"]])
        for model in matter["model-index"]
    ]
    assert found == [("3", ["clean"]), ("4", ["babble"])]


def test_a_model_of_emotions_has_a_card(make_audit) -> None:
    matter = front_matter(card_of(make_audit("emotion")))
    (result,) = matter["model-index"][0]["results"]
    assert [m["type"] for m in result["metrics"]] == ["accuracy", "unweighted_average_recall"]


def test_a_synthetic_corpus_is_announced(make_audit) -> None:
    card = card_of(make_audit(audit={"corpus": {"synthetic": True}}))
    assert "**The speech in this corpus is synthetic.**" in card


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(make_audit, hostile_rows, name: str) -> None:
    pair = {"model_version": name, "condition": name}
    rows = [{**row, **pair} for row in hostile_rows(name)]
    folder = make_audit(
        rows=rows,
        speaker_name=name.replace("{", "{{").replace("}", "}}") + "{}",
        audit={"metadata": {"uri": f"/data/{name}", "sha256": name}, "code_version": name},
    )
    card = card_of(folder)
    matter = front_matter(card)
    assert set(matter) == {"pipeline_tag", "tags", "model-index"}
    assert ModelCard(card).data.eval_results
    body = card.split("---\n", maxsplit=2)[2]
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(body)
    tags = set(re.findall("</?([a-z0-9]+)", html))
    expected = "h1 h2 p table thead tbody tr th td ul li"
    assert tags <= set(expected.split()), tags
    assert len(re.findall("<h1>", html)) == 1
    assert len(re.findall("<h2>", html)) == 5
    assert len(re.findall("<table>", html)) == 2
    assert not re.search("[\u202a-\u202e\x00-\x08\x1b]", card)
    assert card.count("\N{FIRST STRONG ISOLATE}") == card.count("\N{POP DIRECTIONAL ISOLATE}")
    assert "n" * 100 not in card
    # What a renderer would make a link of by itself.
    assert not re.search("(?<!\\\\)://|www(?<!\\\\)[.]", body)
