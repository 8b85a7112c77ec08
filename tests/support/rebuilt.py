"""Whether a network that was built again from its steps is the one that was given."""

import json

import torch

from hilum.models.recipes import TracedRecipe, recipe_of
from hilum.models.traced import program_of, trace_instance


def rebuilt(network):
    """The network as a rank or a server builds it: from JSON, with weights from elsewhere."""
    traced = trace_instance(network)
    stored = json.loads(json.dumps(TracedRecipe(program_of(traced)).to_json()))
    again = recipe_of(stored).build()
    again.load_state_dict(traced.state_dict())
    return again


def check_rebuilt(network, *given, single=False, unused=()):
    """The same outputs, gradients and buffers in both modes, from the same random numbers.

    Args:
        single: the network is one layer, whose names begin with "0." afterwards.
        unused: names in its state dict that no step reads, and that are gone afterwards.
    """
    again = rebuilt(network)
    prefix = "0." if single else ""
    names = {f"{prefix}{name}" for name in network.state_dict() if name not in unused}
    assert set(again.state_dict()) == names
    for mode in (False, True):
        outputs = [_run(one.train(mode), given) for one in (network, again)]
        _require_same(outputs[1], outputs[0])
    _require_same(_gradients(again), _gradients(network, prefix))
    _require_same(again.state_dict(), _prefixed(network.state_dict(), prefix))
    return again


def _run(network, given):
    network.zero_grad()
    torch.manual_seed(3)
    outputs = _tensors(network(*given))
    learnt = [one.square().sum() for one in outputs if one.requires_grad]
    if learnt:
        sum(learnt).backward()
    return [one.detach() for one in outputs]


def _gradients(network, prefix=""):
    named = network.named_parameters(remove_duplicate=False)
    return _prefixed({name: parameter.grad for name, parameter in named}, prefix)


def _prefixed(tensors, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _require_same(found, expected):
    """What is not used at all is not in what was built again."""
    if isinstance(found, dict):
        expected = {name: tensor for name, tensor in expected.items() if name in found}
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def _tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [one for part in value or () for one in _tensors(part)]
