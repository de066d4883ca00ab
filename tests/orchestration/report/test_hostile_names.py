"""Names from the data are text wherever they stand: in HTML, in attributes, in SVG."""

import re
from collections import Counter
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from orchestration.report.render import render_report
from orchestration.report.wording import name as cut
from ser_model import storage

NAMES = {
    "script": "<script>alert(1)</script>",
    "attribute": "\"' onmouseover=alert(1) style='position:fixed'",
    "svg": '</title></desc></svg><svg onload="alert(1)"><use href="data:text/html,x"/>',
    "close": "</bdi></th></table></main></style><style>*{display:none}</style>",
    "comment": "<!-- --!> <![CDATA[ ]]> <?xml ?>",
    "entity": "&lt;b&gt; &#60;script&#62; &amp;amp;",
    "template": "{{ 7 * 7 }}{% include 'x' %}{# gone #}",
    "right to left": "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} 12 \N{ARABIC LETTER ALEF}",
    "turned": "\u202epass\u202c\u2066\u2067\u200e",
    "control": "bell\x07 null\x00 escape\x1b[31m line\nbreak\ttab\u2028",
    "long": "w" * 10_000,
    "joins": "a=b,c=d-rest-a=b",
}
TURNING = re.compile("[\u202a-\u202e\u2066\u2067\x00-\x08\x0b-\x1f]")


class Parts(HTMLParser):
    """What a browser would find: elements, attributes, text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(make_audit, hostile_rows, pair_row, condition_rows, name: str) -> str:
    """Everything that has a name has this one."""
    pair = {"model_version": name, "condition": name}
    models = ("model_version", f"model_version={name}-model_version=other")
    conditions = ("condition", f"condition={name}-condition=clean")
    rows = [{**row, **pair} for row in hostile_rows(name)]
    rows += [{**rows[0], "condition": "clean"}, {**rows[0], "model_version": "other"}]
    rows += [
        pair_row("concordance_cc_difference", *models, 0.1, 0.01, **pair),
        pair_row("concordance_cc_change", *conditions, 0.1, 0.01, **pair),
    ]
    women = f"condition={name}-condition=clean,{name}={name}-{name}=plain"
    rows.append(rows[0] | {"model_version": name, "condition": "clean"})
    rows += [
        r | ({"slice": women, "slice_by": f"condition,{name}"} if "," in r["slice_by"] else {})
        for r in condition_rows([name], model_version=name)
        if r["metric"] not in ("concordance_cc", "concordance_cc_change")
    ]
    folder = make_audit(
        rows=rows,
        pairs=[pair],
        speaker_name=name.replace("{", "{{").replace("}", "}}") + "{}",
        audit={"notes": [name], "runs": [{name: name}], "metadata": {"uri": name}},
    )
    confusion = {"truth": [name, "joy"], "prediction": ["joy", name], "num_segments": [3, 4]}
    confusion |= {key: [name] * 2 for key in pair}
    storage.write_table(f"{folder}/confusion.parquet", pa.table(confusion))
    render_report(folder, f"{folder}/report.html")
    return storage.read_bytes(f"{folder}/report.html").decode()


@pytest.mark.parametrize("kind", NAMES)
def test_a_hostile_name_changes_no_element(
    make_audit, hostile_rows, pair_row, condition_rows, kind: str
) -> None:
    html = page_of(make_audit, hostile_rows, pair_row, condition_rows, NAMES[kind])
    harmless = page_of(make_audit, hostile_rows, pair_row, condition_rows, "harmless")
    found, expected = Parts(html), Parts(harmless)
    assert found.tags == expected.tags
    assert "Whom conditions change more" in found.text
    assert found.attributes == expected.attributes
    assert not TURNING.search(html)
    assert html.count("\N{FIRST STRONG ISOLATE}") == html.count("\N{POP DIRECTIONAL ISOLATE}")
    shown = cut(NAMES[kind])
    assert found.text.count(shown) > 15
    assert len(html) < len(harmless) * 3


def test_a_name_from_right_to_left_turns_nothing_around_it() -> None:
    shown = cut(NAMES["right to left"])
    assert shown[0] == "\N{FIRST STRONG ISOLATE}"
    assert shown[-1] == "\N{POP DIRECTIONAL ISOLATE}"
    assert cut("plain") == "plain"
