"""What a network's code does by its mode is done by the mode of the network built again."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hilum.errors import InvalidValueError
from hilum.models.freezing import set_train_mode
from hilum.models.splitting import split_frozen
from hilum.models.starting import find_head
from hilum.models.traced import program_of, trace_instance
from rebuilt import check_rebuilt, rebuilt
from row_nets import PlainTensors


class Rows(nn.Module):
    """A network on rows of four numbers; `change` is its code between its layers."""

    def __init__(self, change=None):
        super().__init__()
        self.body, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 2)
        self.register_buffer("seen", torch.zeros(6))
        self.change = change

    def forward(self, x):
        return self.head(self.change(self, self.norm(self.body(x))))


def dropping(network, x):
    return functional.dropout(functional.dropout(x, 0.5, network.training), training=True)


def dropping_by_rate(network, x):
    return functional.dropout(x, 0.5 if network.training else 0.0)


def noisy(network, x):
    return x + 0.1 * torch.randn_like(x) if network.training else x


def noisy_in_part(network, x):
    return x + torch.rand(x.size(0), 1, device=x.device) if network.norm.training else -x


def seeing(network, x):
    if network.training:
        network.seen.mul_(0.9).add_(0.1 * x.detach().mean(0))
    return x - network.seen


def with_a_mode_within(network, x):
    if network.training:
        x = x * 2 if network.norm.training else x / 2
    return x + 1


@pytest.mark.parametrize(
    ("change", "depends"),
    [
        (dropping, False),
        (dropping_by_rate, False),
        (noisy, True),
        (noisy_in_part, True),
        (seeing, True),
        (with_a_mode_within, True),
    ],
)
def test_what_is_done_by_mode_is_done_again(change, depends):
    unused = () if change is seeing else ("seen",)
    again = check_rebuilt(Rows(change), torch.randn(5, 4), unused=unused)
    steps = program_of(again).steps
    assert any(step.when is not None for step in steps) == depends
    assert find_head(again) == "head", "the steps after it are those of both modes"


def test_a_frozen_part_is_in_evaluation_though_the_network_trains():
    network = Rows(noisy_in_part)
    again = rebuilt(network)
    for one in (network, again):
        one.norm.requires_grad_(False)
        set_train_mode(one)
    given = torch.randn(5, 4)
    assert again.training
    assert not again.norm.training
    torch.testing.assert_close(again(given), network(given), rtol=0, atol=0)


class TwoBlocks(nn.Module):
    """Drops by function in both, as the code of many does."""

    def __init__(self):
        super().__init__()
        self.below, self.above = Rows(dropping_by_rate), nn.Linear(2, 3)

    def forward(self, x):
        return self.above(functional.dropout(self.below(x), 0.5, self.training))


def test_a_network_is_cut_before_what_depends_on_a_mode_that_still_may_change():
    traced = trace_instance(TwoBlocks())
    traced.below.requires_grad_(False)
    set_train_mode(traced)
    split = split_frozen(traced)
    given = torch.randn(64, 4)
    kept = split.prefix(given)
    torch.testing.assert_close(split.prefix(given), kept)
    first, second = split.rest(kept), split.rest(kept)
    assert not torch.equal(first, second), "dropout above is on"
    traced.eval()
    torch.testing.assert_close(split.rest(kept), traced(given))
    assert find_head(traced) == "above"


def test_a_network_that_takes_other_steps_in_training_is_not_cut():
    traced = trace_instance(Rows(noisy))
    traced.body.requires_grad_(False)
    with pytest.raises(InvalidValueError, match=r"torch\.fx can trace"):
        split_frozen(traced)


class Tied(nn.Module):
    """One tensor for reading and writing words, in two ways."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.out = nn.Linear(4, 9, bias=False)
        self.out.weight = self.words.weight

    def forward(self, words):
        found = self.words(words)
        return self.out(found) + functional.linear(found, self.words.weight)


class Shared(nn.Module):
    """One layer under two names."""

    def __init__(self):
        super().__init__()
        layer = nn.Linear(4, 4)
        self.first, self.then = layer, nn.Sequential(layer, nn.ReLU())

    def forward(self, x):
        return self.then(self.first(x))


@pytest.mark.parametrize(
    ("network", "given"),
    [(Tied(), torch.randint(0, 9, (2, 5))), (Shared(), torch.randn(3, 4))],
)
def test_what_is_one_parameter_stays_one(network, given):
    again = check_rebuilt(network, given)
    assert len(list(again.parameters())) == len(list(network.parameters()))


def test_tensors_in_no_state_dict_travel_with_the_steps():
    again = check_rebuilt(PlainTensors(), torch.randn(5, 4))
    assert set(again.state_dict()) == set(PlainTensors().state_dict())
    assert sum(name.startswith("_tensor") for name in program_of(again).constants) == 1


class Attributes(nn.Module):
    """Keeps what it saw: in its attributes, and a stand-in must not stay there."""

    def __init__(self):
        super().__init__()
        self.body, self.last = nn.Linear(2, 2), None

    def forward(self, x):
        self.last = self.body(x)
        return self.last * torch.ones(2)


def test_the_module_that_was_given_stays_as_it_was():
    network = Attributes()
    trace_instance(network)
    assert network.last is None
    assert set(vars(network)) == set(vars(Attributes()))


def drawn_by_python(network, x):
    return -x if network.training and random.random() < 0.5 else x


def drawn_by_torch(network, x):
    return -x if torch.rand(1) < 0.5 else x


def counted(network, x):
    network.seen += 1
    return x


def replaced(network, x):
    network.seen = torch.cat([network.seen[1:], x.mean().reshape(1)])
    return x


def by_identity(network, x):
    return -x if network.training is True else x


def without_gradients(network, x):
    with torch.no_grad():
        return x + 1


def in_full_precision(network, x):
    with torch.autocast("cpu", enabled=False):
        return x + 1


def of_another_kind(network, x):
    return (x,) if network.training else x


def hidden_and_learning(network, x):
    return x * network.__dict__.setdefault("own", torch.ones(6, requires_grad=True))


def large(network, x):
    return x + torch.from_numpy(np.random.default_rng(0).random((1_000_000, 1)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drawn_by_python, "draws numbers"),
        (drawn_by_torch, "control flow"),
        (counted, "cannot be followed"),
        (replaced, "replaces 'seen' of a Rows"),
        (by_identity, "not followed surely in training"),
        (without_gradients, "computes without gradients"),
        (in_full_precision, "chooses the precision"),
        (hidden_and_learning, "learns and is in no state dict"),
        (large, "large tensors .* in no state dict"),
    ],
)
def test_what_a_step_cannot_show_is_refused(change, why):
    torch.manual_seed(0)
    with pytest.raises(InvalidValueError, match=f"{why}.*network_factory"):
        trace_instance(Rows(change))


def test_a_network_with_other_outputs_in_training_is_refused():
    class Auxiliary(Rows):
        def forward(self, x):
            return of_another_kind(self, self.body(x))

    with pytest.raises(InvalidValueError, match="a tuple in training and a Node in evaluation"):
        trace_instance(Auxiliary())


class Nested(nn.Module):
    """Decides by two modes; each of the four cases is another sum."""

    def __init__(self):
        super().__init__()
        self.body, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x):
        x = self.norm(self.body(x))
        if self.training:
            if self.norm.training:
                x = x + 1
        elif not self.norm.training:
            self.seen.add_(1)
        return x


class NestedAtBegin(Nested):
    def forward(self, x):
        if self.training:
            x = x + 1 if self.norm.training else x - 3
            return self.norm(self.body(x))
        if self.norm.training:
            x = x * 2
        return self.norm(self.body(x) * 7)


@pytest.mark.parametrize("kind", [Nested, NestedAtBegin])
@pytest.mark.parametrize("modes", [(a, b) for a in (True, False) for b in (True, False)])
def test_modes_of_two_modules_decide_together(kind, modes):
    network, given = kind(), torch.randn(5, 4)
    again = rebuilt(network)
    for one in (network, again):
        one.training, one.norm.training = modes
    torch.testing.assert_close(again(given), network(given), rtol=0, atol=0)
    torch.testing.assert_close(again.seen, network.seen) if kind is Nested else None


class Keeping(Rows):
    """Keeps its norm in evaluation, as many do."""

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self


def evaluating(network, x):
    network.norm.eval()
    return network.norm(x)


class Asking(nn.Module):
    """Decides by the mode of each of its parts."""

    def __init__(self, count):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(2, 2) for _ in range(count))

    def forward(self, x):
        for part in self.parts:
            x = part(x) if part.training else -part(x)
        return x


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (Keeping(lambda _, x: x), r"has a train\(\) of its own"),
        (nn.Sequential(Keeping(lambda _, x: x)), r"'0' \(Keeping\) has a train\(\) of its own"),
        (Rows(evaluating), "changes the mode of a BatchNorm1d"),
        (Asking(20), "too many modules at once"),
    ],
)
def test_modes_that_no_step_shows_are_refused(network, why):
    with pytest.raises(InvalidValueError, match=f"{why}.*network_factory"):
        trace_instance(network)


def test_modes_of_a_few_parts_are_followed():
    check_rebuilt(Asking(3), torch.randn(4, 2))
