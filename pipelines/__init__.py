"""The two Beam pipelines: pack (recordings to shards) and audit (predictions to statistics)."""
