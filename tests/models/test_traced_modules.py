"""A module of the user's Python is built again from its steps, without its code."""

import json
import types
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional

from any_models import Untraceable, small_net
from hilum.errors import InvalidValueError
from hilum.models import architecture
from hilum.models.recipes import TracedRecipe, recipe_of
from hilum.models.splitting import split_frozen
from hilum.models.starting import build_start, find_head, start_of_instance, with_new_head
from hilum.models.traced import TracedNetwork, program_of, trace_instance
from row_nets import TwoArguments


class Words(nn.Module):
    """Two arguments and one with a default, recurrent, two outputs by name."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4, padding_idx=0)
        self.read = nn.LSTM(4, 5, num_layers=2, batch_first=True, dropout=0.1)
        self.parts = nn.ModuleList([nn.Linear(7, 3), nn.Linear(7, 3, bias=False)])
        self.scale = nn.Parameter(torch.randn(3))
        self.register_buffer("shift", torch.arange(3.0))

    def forward(self, words, numbers, mask=None):
        found, (_, cell) = self.read(self.words(words))
        joined = torch.cat([found[:, -1] + cell[-1], numbers], dim=1)
        sums = [functional.relu(part(joined)) for part in self.parts]
        if mask is not None:
            sums = [mask * one for one in sums]
        count = words.shape[0]
        return {
            "a": (sums[0] * self.scale + self.shift).view(count, 3),
            "b": sums[1].masked_fill(sums[1] > 1.0, float("inf")).amin(dim=1, keepdim=True),
        }


def words():
    return torch.randint(0, 10, (2, 6)), torch.randn(2, 2)


def images():
    return (torch.randn(2, 3, 64, 64),)


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (Words, words),
        (lambda: nn.Linear(3, 2), lambda: (torch.randn(4, 3),)),
        (lambda: architecture("resnet18").build(), images),
        (lambda: architecture("torchvision:mobilenet_v3_small").build(), images),
        (lambda: architecture("torchvision:shufflenet_v2_x0_5").build(), images),
    ],
)
def test_what_is_built_from_json_computes_the_same(make, inputs):
    torch.manual_seed(1)
    network, given = make().eval(), inputs()
    traced = trace_instance(network)
    stored = json.loads(json.dumps(TracedRecipe(program_of(traced)).to_json()))
    again = recipe_of(stored).build()
    assert isinstance(again, TracedNetwork)
    again.load_state_dict(traced.state_dict())
    torch.testing.assert_close(again.eval()(*given), network(*given), rtol=0, atol=0)


class InPlace(nn.Module):
    """Changes in place what it returns under another name."""

    def __init__(self, change):
        super().__init__()
        self.body, self.act, self.head = nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)
        self.change = change

    def forward(self, x, shift=1.0):
        torch._assert(x.dim() == 2, "rows of numbers")
        value = self.body(x)
        self.change(self, value, shift)
        return self.head(value)


def rectified(network, value, shift):
    network.act(value)


def rectified_by_function(network, value, shift):
    functional.relu(value, inplace=True)


def shifted(network, value, shift):
    value += shift


def shifted_by_method(network, value, shift):
    value.add_(shift)


def written(network, value, shift):
    value[:, 0] = shift


@pytest.mark.parametrize(
    "change", [rectified, rectified_by_function, shifted, shifted_by_method, written]
)
def test_what_is_changed_in_place_stays_changed(change):
    network, given = InPlace(change), torch.randn(5, 3)
    traced = trace_instance(network)
    torch.testing.assert_close(traced(given), network(given), rtol=0, atol=0)
    traced.body.requires_grad_(False)
    with pytest.raises(InvalidValueError, match=r"whose steps are all read|item assignment"):
        split_frozen(traced)


def test_layers_may_have_any_name():
    names = ["last_layer", "program", "_run", "_owner", "_last_uses", "inputs", "steps"]
    network = nn.Sequential(OrderedDict((name, nn.Linear(2, 2)) for name in names))
    traced, given = trace_instance(network), torch.randn(3, 2)
    torch.testing.assert_close(traced(given), network(given), rtol=0, atol=0)
    assert find_head(traced) == "steps"


class ByNumber(nn.Module):
    def forward(self, x):
        return {0: x, 1: -x}


def with_another_forward():
    network = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    network[0].forward = types.MethodType(lambda self, x: -x, network[0])
    return network


class Listing(nn.Module):
    def forward(self, x):
        return x.tolist()


class Counting(nn.Module):
    """Changes a tensor of its own, and a number, whenever it runs."""

    def __init__(self, change):
        super().__init__()
        self.register_buffer("seen", torch.tensor([0.0, float("nan")]))
        self.register_buffer("steps", torch.tensor(0))
        self.calls, self.change = 0, change

    def forward(self, x):
        self.calls += 1
        return x + self.change(self)


def counted(network):
    network.steps += 1
    return network.seen


def averaged(network):
    network.seen.data.mul_(0.9).add_(1.0)
    return network.seen


def cut(network):
    return network.seen[:1]


def test_a_module_is_followed_without_a_trace_on_it():
    network = Counting(cut)
    names = set(vars(network))
    assert trace_instance(network)(torch.ones(2)).isnan().tolist() == [False, False]
    assert network.calls == 0
    assert set(vars(network)) == names


@pytest.mark.parametrize(
    ("change", "said"), [(counted, "it replaces 'steps'"), (averaged, "the attribute 'data'")]
)
def test_a_module_that_changes_its_own_tensors_is_refused_and_unchanged(change, said):
    network = Counting(change)
    with pytest.raises(InvalidValueError, match=said):
        trace_instance(network)
    assert (network.calls, network.steps.item(), network.seen[0].item()) == (0, 0, 0.0)


def hooked():
    network = nn.Sequential(nn.Linear(1, 1))
    network[0].register_forward_hook(lambda *_: None)
    return network


def changed():
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(torch.zeros(3, 2))
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (Untraceable(), "cannot be followed: .*control flow"),
        (with_another_forward(), "a forward that is not of its class"),
        (ByNumber(), "a key must be a text. Got 0"),
        (Listing(), "the method 'tolist'"),
        (InPlace(lambda _, value, shift: torch.fft.fft(value)), "the function 'fft_fft'"),
        (InPlace(lambda _, value, shift: value.detach_()), "the method 'detach_'"),
        (InPlace(lambda _, value, shift: value.add(value.grad)), "the attribute 'grad'"),
        (hooked(), "has hooks"),
        (changed(), "was changed"),
        (nn.Sequential(nn.HuberLoss()), "no layer that can be described"),
    ],
)
def test_what_only_its_own_code_could_do_is_refused_with_the_way_out(network, why):
    modes = [module.train(n % 2 > 0).training for n, module in enumerate(network.modules())]
    with pytest.raises(InvalidValueError, match=f"{why}.*network_factory"):
        trace_instance(network)
    assert [module.training for module in network.modules()] == modes


def test_a_traced_network_of_images_is_followed_and_split_as_others_are():
    traced = trace_instance(architecture("resnet18").build()).eval()
    traced.requires_grad_(False)
    traced.get_submodule("layer4").requires_grad_(True)
    split = split_frozen(traced)
    (given,) = images()
    torch.testing.assert_close(split.rest(split.prefix(given)), traced(given))
    assert find_head(traced) == "fc"


def test_random_weights_of_what_only_a_modules_code_starts_are_refused():
    start = start_of_instance(Words())
    with pytest.raises(InvalidValueError, match=r"'auto' .*\(scale, shift\).*marked function"):
        build_start(start.architecture, start, 1, weights="random")
    start = start_of_instance(small_net(4))
    _, report = build_start(start.architecture, start, 1, weights="random")
    assert report.kind == "random"


def test_a_module_starts_whole_or_with_a_new_last_layer():
    network = small_net(4)
    network[0].requires_grad_(False)
    start = start_of_instance(network)
    whole, report = build_start(start.architecture, start, 1)
    assert report.kind == "random"
    assert whole.state_dict().keys() == network.state_dict().keys()
    torch.testing.assert_close(whole.get_parameter("6.weight"), network[6].weight)
    assert start.frozen == ("0.weight", "0.bias")
    headed = with_new_head(start)
    assert (headed.architecture.head, headed.findings) == ("6", 10)
    assert with_new_head(headed) is headed
    model, _ = build_start(headed.architecture, headed, 3)
    torch.testing.assert_close(model.get_parameter("2.weight"), network[2].weight)
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 3)
    for other in (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), TwoArguments()):
        with pytest.raises(InvalidValueError, match="last layer of the network must be linear"):
            with_new_head(start_of_instance(other))
