"""Suites of tests: published thresholds held against the statistics of an audit."""
