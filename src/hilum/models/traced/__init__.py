"""Networks of the user's Python as data: layers and calls of a closed table, without their code."""

from hilum.models.traced.instances import trace_instance
from hilum.models.traced.network import TracedNetwork, program_of, traced_network
from hilum.models.traced.program import Program, Step

__all__ = ["Program", "Step", "TracedNetwork", "program_of", "trace_instance", "traced_network"]
