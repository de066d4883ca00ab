"""The page that lies beside the demo's corpus and says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.demo import rule
from orchestration.demo.telephone import BAND_HZ

_PAGE = """\
# A synthetic corpus

Nobody spoke, felt or rated anything here. espeak-ng, a speech synthesiser, read {num_segments}
sentences to `serval demo` (seed {seed}); emotions, speakers and raters are simulated by the rule
below. Use it to see Serval work, never to judge a model for real speech.

- {num_speakers} speakers, half with female and half with male voices, in three accents; each has
  one recording with pauses between the segments (`start_s`, `end_s` in `manifest.csv`).
- Speakers are in one split alone. Sentences are the same in all splits.
- `arousal`, `dominance`, `valence`: the mean of three simulated raters, 0 to 1. `emotion` names the
  quadrant of arousal and valence; `sentiment` is that of the words.
- The folder `noise` beside this one, which `serval demo` makes too, holds made noises to score this
  corpus under more conditions with.

## What was planted

{what}:
{accent} speakers, splits {splits}. The line passes {low_hz:.0f} to {high_hz:.0f} Hz, brings the
level of each segment {gain_control:.0%} of the way to {level_dbfs:.0f} dBFS, and adds noise at
{noise_dbfs:.0f} dBFS. So {expect}: a gap
that an audit by accent must find. `corpus.json` says the same for programs. No gap was planted by
sex.

## The rule

{rule}
"""


def corpus_readme(facts: Mapping[str, Any]) -> str:
    """Return the page for a corpus.

    Args:
        facts: what corpus.json holds.
    """
    planted = facts["planted"]
    telephone = planted["telephone"]
    rule_text = (rule.__doc__ or "").split("\n\n", maxsplit=1)[1]
    return _PAGE.format(
        **{name: facts[name] for name in ("num_segments", "num_speakers", "seed")},
        what=planted["what"][0].upper() + planted["what"][1:],
        expect=planted["expect"].replace("concordance_cc", "the CCC"),
        accent=telephone["accent"],
        splits=", ".join(telephone["splits"]),
        low_hz=BAND_HZ[0],
        high_hz=BAND_HZ[1],
        level_dbfs=telephone["level_dbfs"],
        gain_control=telephone["gain_control"],
        noise_dbfs=telephone["noise_dbfs"],
        rule=rule_text,
    )
