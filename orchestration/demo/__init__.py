"""``serval demo``: a synthetic corpus and the whole line run over it."""
