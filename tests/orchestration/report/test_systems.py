"""Systems over seeds, as an audit that was told of them has them."""

import re

from orchestration.report.audit_folder import read_audit
from orchestration.report.page import build_page
from orchestration.report.render import render_page
from orchestration.report.systems import MAX_ROWS, system_panels

HEAD = {"condition": "clean", "target": "arousal", "metric": "concordance_cc", "reason": None}
NOTHING = dict.fromkeys(("other_system", "standard_deviation", "ci_low", "ci_high", "p_adjusted"))
ROWS = [
    {
        **HEAD,
        **NOTHING,
        "system": "big <b>",
        "value": 0.7,
        "standard_deviation": 0.02,
        "num_runs": 3,
    },
    {**HEAD, **NOTHING, "system": "small", "value": 0.6, "standard_deviation": 0.03, "num_runs": 3},
    {
        **HEAD,
        **NOTHING,
        "system": "big <b>",
        "other_system": "small",
        "value": 0.1,
        "num_runs": 6,
        "ci_low": 0.04,
        "ci_high": 0.16,
        "p_adjusted": 0.012,
        "p_value": 0.006,
    },
]


def test_means_and_differences_are_shown(make_audit) -> None:
    page = build_page(read_audit(make_audit(audit={"systems": ROWS})))
    html = render_page(page)
    words = " ".join(re.sub("<[^>]+>", " ", html).split())
    assert "big &lt;b&gt; arousal CCC 3 .700 .020" in words
    assert "big &lt;b&gt; against small arousal CCC 6 .100 .040 to .160 .012" in words
    assert "those of systems in systems.parquet" in words
    assert '<a href="#comparison">' in html
    assert not any(name.startswith("systems") for name, _ in page.provenance.facts)


def test_without_systems_there_is_no_such_section(make_audit) -> None:
    html = render_page(build_page(read_audit(make_audit())))
    assert "Systems over seeds" not in html
    assert "systems.parquet" not in html


def test_clean_comes_first_and_many_rows_are_cut() -> None:
    rows = [{**ROWS[0], "system": str(number)} for number in range(100)]
    rows += [{**ROWS[0], "condition": "babble"}]
    clean, babble = system_panels({"systems": rows})
    assert (clean.condition, babble.condition) == ("clean", "babble")
    assert (len(clean.means), clean.num_means) == (MAX_ROWS, 100)
