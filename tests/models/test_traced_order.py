"""A network that is built again is frozen, cut and given again as the one that was given."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from hilum.errors import InvalidValueError
from hilum.models.freezing import freeze_layers, set_train_mode
from hilum.models.recipes import TracedRecipe, recipe_of
from hilum.models.splitting import split_frozen
from hilum.models.starting import start_of_instance
from hilum.models.traced import program_of, trace_instance
from rebuilt import check_rebuilt, rebuilt


class Drop(nn.Module):
    def forward(self, x):
        return functional.dropout(x, 0.5, self.training)


class Places(nn.Module):
    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.randn(4))

    def forward(self, x):
        return x + self.places


class Parts(nn.Module):
    """Parts that hold no layers stand between those that do."""

    def __init__(self):
        super().__init__()
        self.embed, self.body, self.drop = Places(), nn.Linear(4, 64), Drop()
        self.mid, self.head = nn.Linear(64, 64), nn.Linear(64, 2)

    def forward(self, x):
        return self.head(self.mid(self.drop(self.body(self.embed(x)))))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        x = self.norm(self.layer(x))
        return functional.dropout(x * 2 if self.norm.training else x, 0.5, self.training)


def test_frozen_parts_are_those_and_in_the_modes_of_the_network_that_was_given():
    network = Parts()
    again, architecture = rebuilt(network), start_of_instance(network).architecture
    for one in (network, again):
        freeze_layers(one, architecture, "mid")
        set_train_mode(one)
    frozen = [
        [n for n, p in one.named_parameters() if not p.requires_grad] for one in (network, again)
    ]
    assert frozen[0] == frozen[1]
    assert "embed.places" in frozen[0]
    modes = {path: module.training for path, module in network.named_modules()}
    assert not modes["drop"]
    assert {path: again.get_submodule(path).training for path in modes} == modes


@pytest.mark.parametrize("kind", [Parts, Normed])
def test_what_was_built_again_can_be_given_again(kind):
    check_rebuilt(rebuilt(kind()), torch.randn(3, 4))


def test_a_program_of_before_there_was_an_order_is_built():
    traced = trace_instance(Parts())
    stored = json.loads(json.dumps(TracedRecipe(program_of(traced)).to_json()))
    del stored["program"]["modules"]
    again = recipe_of(stored).build()
    assert again.state_dict().keys() == traced.state_dict().keys()


@pytest.mark.parametrize("path", ["forward", "__class__", "a..b", "0.weight", ".".join("a" * 3000)])
def test_a_crafted_order_builds_nothing(path):
    traced = trace_instance(nn.Sequential(nn.Linear(1, 1)))
    stored = json.loads(json.dumps(TracedRecipe(program_of(traced)).to_json()))
    stored["program"]["modules"] = [path]
    with pytest.raises(InvalidValueError, match="path of a layer must be"):
        recipe_of(stored).build()


def test_the_rest_of_a_network_that_was_cut_has_its_own_mode():
    traced = trace_instance(nn.Sequential(nn.Linear(4, 64), Drop(), nn.Linear(64, 2)))
    traced.get_submodule("0").requires_grad_(False)
    set_train_mode(traced)
    split = split_frozen(traced)
    kept = split.prefix(torch.randn(8, 4))
    assert not torch.equal(split.rest(kept), split.rest(kept))
    split.rest.eval()
    torch.testing.assert_close(split.rest(kept), split.rest(kept), rtol=0, atol=0)
    set_train_mode(traced)
    assert not torch.equal(split.rest(kept), split.rest(kept))


def test_a_layer_of_another_precision_is_refused():
    with pytest.raises(InvalidValueError, match=r"'0.weight' is torch.float64.*network_factory"):
        trace_instance(nn.Sequential(nn.Linear(4, 2)).double())
