"""Metrics: for each a function over arrays and a state that merges. Needs numpy only."""
