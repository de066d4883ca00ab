"""The parts of a night, one small file each; `orchestration.nightly` puts them together."""
