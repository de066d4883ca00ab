"""Readers turn a corpus on disk into a manifest; one small module a layout."""
