"""Following a network's code harms neither the process, nor other threads, nor the network."""

import builtins
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models.traced import program_of, trace_instance

CRASHING = """
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hilum.errors import InvalidValueError
from hilum.models.traced import trace_instance


class Turned(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x

    @staticmethod
    def backward(context, gradient):
        return -gradient


@torch.jit.script
def swish(x):
    return x * x.sigmoid()


class Calling(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.layer(x))


for function in (
    Turned.apply,
    lambda x: swish(x),
    lambda x: torch.as_tensor(x),
    torch.Tensor,
    torch.utils.dlpack.to_dlpack,
    lambda x: checkpoint(lambda y: y * 2, x, use_reentrant=True),
):
    try:
        trace_instance(Calling(function))
        print("taken")
    except InvalidValueError as error:
        print(str(error).splitlines()[0])
"""


def test_what_torch_reads_in_c_is_refused_and_the_process_lives(tmp_path):
    script = tmp_path / "crashing.py"
    script.write_text(CRASHING)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    names = ["calls Turned", "swish", "'as_tensor'", "StandIn", "StandIn", "CheckpointFunction"]
    assert len(said) == len(names)
    for line, name in zip(said, names, strict=True):
        assert name in line


class Calling(nn.Module):
    """Its code between two layers is a function."""

    def __init__(self, function):
        super().__init__()
        self.layer, self.head, self.function = nn.Linear(4, 4), nn.Linear(4, 2), function
        self.table = torch.ones(4)  # in no state dict

    def forward(self, x):
        return self.head(self.function(self, self.layer(x)))


def test_other_threads_see_python_as_it_is_and_nothing_is_left_behind():
    own = (builtins.isinstance, torch.zeros, torch.autocast.__enter__)
    seen, begun, ask = [], threading.Event(), threading.Event()

    def elsewhere():
        begun.wait(10)
        seen.append((type(torch.zeros(1)), isinstance(seen, list)))
        ask.set()

    def waiting(network, x):
        begun.set()
        assert ask.wait(10)
        return x * torch.zeros(4)

    networks = [Calling(waiting), Calling(waiting)]
    threads = [threading.Thread(target=elsewhere)]
    threads += [threading.Thread(target=trace_instance, args=(one,)) for one in networks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == [(torch.Tensor, True)]
    assert (builtins.isinstance, torch.zeros, torch.autocast.__enter__) == own
    assert "__getattribute__" not in vars(type(torch.autograd.Function))


def clipped(network, x):
    for parameter in network.layer.parameters():
        parameter.data.clamp_(-0.01, 0.01)
    return x


def frozen(network, x):
    network.layer.requires_grad_(False)
    return x


def doubled(network, x):
    network.table.data.mul_(2.0)
    return x + network.table


def set_anew(network, x):
    network.layer.weight.data = torch.clamp(network.layer.weight.detach(), -0.01, 0.01)
    return x


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (clipped, "changes its tensor 'layer.weight'"),
        (frozen, "changes its tensor 'layer.weight'"),
        (doubled, "(changes its tensor 'table'|not followed surely)"),
        (set_anew, "sets the attribute 'data'"),
    ],
)
def test_code_that_changes_weights_is_refused_and_they_stay(change, said):
    network = Calling(change)
    before, table = network.layer.weight.detach().clone(), network.table.clone()
    with pytest.raises(InvalidValueError, match=f"{said}.*network_factory"):
        trace_instance(network)
    assert torch.equal(network.layer.weight, before)
    assert torch.equal(network.table, table)
    assert network.layer.weight.requires_grad


def changed_by_another_name(network, x):
    turned = x.T
    turned += 1.0
    return x


def test_a_view_that_is_an_attribute_changes_in_place():
    network, given = Calling(changed_by_another_name), torch.randn(3, 4)
    torch.testing.assert_close(trace_instance(network)(given), network(given), rtol=0, atol=0)
    targets = [step.target for step in program_of(trace_instance(network)).steps]
    assert "operator.iadd" in targets
