"""Gradients exchanged between real processes: means, their precision, and the same every time."""

import json

import pytest
import torch
from torch import nn

from hilum.errors import InvalidValueError
from hilum.training import LocalLauncher, World
from hilum.training.exchange import exchange_gradients, form_buckets

ONE_THREAD = LocalLauncher(num_threads=1)
WIDTH = 96


def network():
    torch.manual_seed(0)
    layers = [nn.Linear(WIDTH, WIDTH) for _ in range(6)]
    return nn.Sequential(*layers[:3], nn.BatchNorm1d(WIDTH), *layers[3:])


def images(rank):
    return torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(rank))


def gradient(engine, batch):
    engine.zero_grad(set_to_none=True)
    engine(batch).square().mean().backward()
    return torch.cat([parameter.grad.reshape(-1) for parameter in engine.parameters()])


def exchange_once(world: World, argument: str) -> str:
    """How far exchanged gradients are from the mean, and whether all ranks got the same."""
    mean = sum(gradient(network().eval(), images(rank)) for rank in range(world.num_ranks))
    mean = mean / world.num_ranks
    found = {}
    for compression in ("none", "bfloat16"):
        engine = exchange_gradients(network().eval(), compression=compression, bucket_mb=0.05)
        exchanged = gradient(engine, images(world.rank))
        everywhere = [torch.empty_like(exchanged) for _ in range(world.num_ranks)]
        torch.distributed.all_gather(everywhere, exchanged)
        error = float((exchanged - mean).norm() / mean.norm())
        found[compression] = [error, all(torch.equal(exchanged, other) for other in everywhere)]
    return json.dumps(found)


def repeat_a_gradient(world: World, argument: str) -> str:
    """Whether the first step's gradient is that of the same step taken later, to the last bit."""
    model = network()
    before = [value.clone() for value in model.state_dict().values()]
    engine = exchange_gradients(model, bucket_mb=0.05)
    form_buckets(engine, images(7))
    unchanged = all(map(torch.equal, before, model.state_dict().values()))
    clean = engine.training and all(parameter.grad is None for parameter in model.parameters())
    first, _, third = (gradient(engine, images(world.rank)) for _ in range(3))
    return json.dumps([unchanged and clean, torch.equal(first, third)])


def test_ranks_get_the_mean_gradient_and_the_same_one():
    for line in ONE_THREAD.launch(exchange_once, "", 2):
        found = json.loads(line)
        (exact_error, exact_same), (error, same) = found["none"], found["bfloat16"]
        assert exact_error < 1e-6
        assert 1e-4 < error < 4e-3, "bfloat16 rounds, and only that"
        assert exact_same
        assert same


def test_the_first_step_adds_gradients_in_the_order_of_every_later_one():
    """With three ranks the order of adding shows in the last bit."""
    for line in ONE_THREAD.launch(repeat_a_gradient, "", 3):
        assert json.loads(line) == [True, True]


def test_one_rank_has_no_buckets_to_form():
    model = network()
    form_buckets(model, images(0))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_unknown_compression_is_refused():
    with pytest.raises(InvalidValueError, match="compression must be none or bfloat16"):
        exchange_gradients(network(), compression="float8")
