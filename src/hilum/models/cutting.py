"""Networks cut: at a node of any name, or before the last layer.

Before its last layer a network is cut into what it sees and what it concludes. The features (the
pooled embedding the head reads) serve to explain, to probe and to notice images unlike those of
training. Cutting needs no hooks, so that threads can share one network.
"""

from torch import nn

from hilum.errors import require
from hilum.models.architectures import Architecture
from hilum.models.named_nodes import cut_network
from hilum.models.node_names import names_of_2019
from hilum.models.recipes import CutRecipe, LoadedModel, library_name
from hilum.models.transfer import head_names

__all__ = ["cut", "cut_before_head"]


def cut(loaded: LoadedModel, *names: str) -> LoadedModel:
    """Copy the part of a network that ends at some of its nodes; the network stays as it is.

    Args:
        loaded: any network.
        names: nodes, modules, or names of 2019 such as "pool5". With several the part returns a
            tuple in their order.

    Returns:
        The part in evaluation mode, with tensors of the same names and their own memory.

    Raises:
        InvalidValueError: no such node, or the network's code cannot be followed.
    """
    aliases = names_of_2019(library_name(loaded.recipe))
    part = cut_network(loaded.network, names, aliases)
    whole = loaded.recipe.of if isinstance(loaded.recipe, CutRecipe) else loaded.recipe
    return LoadedModel(
        network=part.eval(),
        recipe=CutRecipe(of=whole, at=names),
        report=loaded.report,
        pixels=loaded.pixels,
    )


def cut_before_head(model: nn.Module, architecture: Architecture | str) -> nn.Sequential:
    """Take a network of `create_model` apart into (body, head), which together are the network.

    The body maps (N, 3, H, W) to features (N, feature), the head features to logits. The layers
    are those of `model`, which is the body afterwards: use the result in its place.
    """
    names = head_names(architecture)
    require(len(names) > 0, "network", "one with a new head, to be cut before it", type(model))
    path = names[0].removesuffix(".weight")
    parent_name, _, name = path.rpartition(".")
    parent = model.get_submodule(parent_name)
    head = parent.get_submodule(name)
    setattr(parent, name, nn.Identity())
    cut = nn.Sequential(model, head)
    return cut.train(model.training)
