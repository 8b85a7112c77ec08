"""What a network from a file computes at some of its nodes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.models.graph import GraphNetwork
from hilum.models.recipes import GraphRecipe, LoadedModel

DATA = Path(__file__).parents[1] / "models" / "data"


def values_at(loaded: LoadedModel, image: Any, *names: str) -> list[Any]:
    """The values of nodes, computed by a network that is cut there."""
    assert isinstance(loaded.recipe, GraphRecipe)
    network = GraphNetwork(loaded.recipe.spec.up_to(*names)).eval()
    network.load_state_dict(loaded.network.state_dict(), strict=False)
    with torch.no_grad():
        values = network(torch.as_tensor(image))
    return [v.numpy() for v in (values if len(names) > 1 else [values])]


def largest_difference(first: Any, second: Any) -> float:
    """Of two arrays of the same shape."""
    assert first.shape == second.shape
    return float(np.abs(first - second).max())
