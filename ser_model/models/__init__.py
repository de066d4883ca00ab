"""Emotion models: front ends, networks, pooling and heads, and how they are stored."""
