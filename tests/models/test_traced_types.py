"""What `isinstance` answers about values while a network's code is followed."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from hilum.errors import InvalidValueError
from hilum.models.traced import trace_instance
from rebuilt import check_rebuilt

IMAGES = torch.randn(2, 1, 8, 8)


class Asking(nn.Module):
    """Turns the sign of its result where a value is of the kinds that it asks for."""

    def __init__(self, make, kinds, layer=None):
        super().__init__()
        self.body, self.layer = nn.Conv2d(1, 1, 1), layer
        self.make, self.kinds = make, kinds

    def forward(self, x):
        x = self.body(x)
        return -x if isinstance(self.make(self, x), self.kinds) else x


def layered(network, x):
    return network.layer(x)


def of_a_tuple(network, x):
    return network.layer((x, x))


@pytest.mark.parametrize("kinds", [torch.Tensor, list, tuple, int | float, (str, torch.Size)])
@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (layered, nn.MaxPool2d(2, return_indices=True)),
        (layered, nn.AdaptiveMaxPool2d(2, return_indices=True)),
        (layered, nn.FractionalMaxPool2d(2, output_size=3, return_indices=True)),
        (layered, nn.MaxPool2d(2)),
        (lambda _, x: x.chunk(2, 0), None),
        (lambda _, x: torch.split(x, 1)[0], None),
        (lambda _, x: math.log(x.shape[1]), None),
        (lambda _, x: math.floor(x.shape[2] / 2), None),
        (lambda _, x: x.shape[1] * 3 - 1, None),
        (lambda _, x: x.size()[1:], None),
        (lambda _, x: functional.max_pool2d(x, 2), None),
        (lambda _, x: x * 2 + x.mean(), None),
        (lambda _, x: x.amax(dim=1), None),
    ],
)
def test_it_is_answered_as_for_the_value(make, layer, kinds):
    check_rebuilt(Asking(make, kinds, layer), IMAGES)


def test_parameters_are_told_from_other_tensors():
    check_rebuilt(Asking(lambda network, _: network.body.weight, nn.Parameter), IMAGES)
    check_rebuilt(Asking(lambda _, x: x, nn.Parameter), IMAGES)


def by_match(network, x):
    match x:
        case torch.Tensor():
            return -1
    return "other"


@pytest.mark.parametrize(
    ("make", "kinds", "why"),
    [
        (of_a_tuple, torch.Tensor, "type"),
        (lambda _, x: torch.max(x, dim=1), tuple, "type .* of 'max_1'"),
        (lambda _, x: functional.max_pool2d(x, 2, return_indices=True), tuple, "type"),
        (lambda _, x: x, torch.FloatTensor, "type"),
        (lambda _, x: x.shape[0] / 2, float, "type"),
        (by_match, int, "class of"),
        (lambda _, x: x.__class__.__name__, str, "class of"),
        (lambda _, x: 1 if torch.is_tensor(torch.sort(x)) else "", int, "type"),
    ],
)
def test_what_is_not_sure_is_refused(make, kinds, why):
    layer: Callable[..., object] = nn.Identity()
    with pytest.raises(InvalidValueError, match=f"it asks for the {why}.*network_factory"):
        trace_instance(Asking(make, kinds, layer))
