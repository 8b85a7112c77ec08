"""A network cut before its last layer: what it sees, then what it concludes.

The features (the pooled embedding the head reads) serve to explain, to probe and to notice images
unlike those of training. Cutting needs no hooks, so that threads can share one network.
"""

from torch import nn

from hilum.models.architectures import Architecture
from hilum.models.transfer import head_names

__all__ = ["cut_before_head"]


def cut_before_head(model: nn.Module, architecture: Architecture | str) -> nn.Sequential:
    """Take a network of `create_model` apart into (body, head), which together are the network.

    The body maps (N, 3, H, W) to features (N, feature), the head features to logits. The layers
    are those of `model`, which is the body afterwards: use the result in its place.
    """
    path = head_names(architecture)[0].removesuffix(".weight")
    parent_name, _, name = path.rpartition(".")
    parent = model.get_submodule(parent_name)
    head = parent.get_submodule(name)
    setattr(parent, name, nn.Identity())
    cut = nn.Sequential(model, head)
    return cut.train(model.training)
