"""Explanations: where in a radiograph a network finds what speaks for a finding.

The arithmetic is captum's; ours is the target layer for any network, the way back from the
network's input to the radiograph's own pixels, and the check that a map depends on the weights.
"""

from hilum.explain.boxed import boxed_maps
from hilum.explain.explainer import METHODS, Explainer, Method
from hilum.explain.heat_map import HeatMap
from hilum.explain.randomisation import RandomisationCheck, randomisation_check

__all__ = [
    "METHODS",
    "Explainer",
    "HeatMap",
    "Method",
    "RandomisationCheck",
    "boxed_maps",
    "randomisation_check",
]
