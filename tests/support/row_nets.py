"""Tiny networks on rows that are no images."""

import torch
from torch import nn

from hilum.models import network_factory


@network_factory
def line(features: int = 3, outputs: int = 1) -> nn.Module:
    """Linear regression."""
    return nn.Linear(features, outputs)


class TwoArguments(nn.Module):
    """A number beside a vector, and two outputs."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 5)
        self.first, self.second = nn.Linear(5, 1), nn.Linear(5, 2)

    def forward(self, vector, number):
        found = torch.tanh(self.body(torch.cat([vector, number], 1)))
        return self.first(found), self.second(found)


@network_factory
def two_arguments() -> nn.Module:
    return TwoArguments()
