"""Robustness conditions: what is done to a segment's audio before it is scored.

Each is a pure function of the waveform, the segment's id and a seed, so that neither order nor
batch nor worker can change what a model hears. docs/conditions.md lists them.
"""

from ser_model.augment.catalogue import SETS, conditions, known_names, named
from ser_model.augment.condition import Condition
from ser_model.augment.noise_folder import NoiseFolder

__all__ = ["SETS", "Condition", "NoiseFolder", "conditions", "known_names", "named"]
