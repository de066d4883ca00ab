"""Ties models and pipelines together: commands, Ray actors, MLflow registry, reports."""
