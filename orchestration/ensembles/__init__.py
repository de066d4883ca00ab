"""Ensembles of models that were scored: members, votes, and the search for who votes best."""
