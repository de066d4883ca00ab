"""``serval probe text``: does a model hear the words, or how they are said?

run + metadata -- segments -- synthesis -- score (the ordinary one) -- statistics -- wording
"""
