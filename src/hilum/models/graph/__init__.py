"""Networks as values: nodes by name, from JSON, whatever program wrote the file they come from."""

from hilum.models.graph.layers import LAYERS
from hilum.models.graph.network import GraphNetwork
from hilum.models.graph.spec import NetworkSpec, Node

__all__ = ["LAYERS", "GraphNetwork", "NetworkSpec", "Node"]
