"""A network is tried on one row: sizes that do not fit are said with both shapes."""

import pytest
import torch
from torch import nn

import row_nets
from hilum.errors import InvalidValueError
from hilum.inputs import Output, RowSpec, Target, TensorInput
from hilum.optim import CrossEntropy, TorchLoss
from hilum.training.trial import try_network

MSE = TorchLoss(name="MSELoss")


def spec(*targets, dtype="float32", inputs=1):
    fields = [TensorInput(column=f"x{at}", shape=(3,), dtype=dtype) for at in range(inputs)]
    known = targets or (Target(column="y", shape=()),)
    return RowSpec(inputs=tuple(fields), targets=known)


def tried(model, contract, loss=MSE, label=0.0):
    record = torch.zeros(1, contract.record_bytes, dtype=torch.uint8)
    labels = torch.full((1, contract.label_size), label)
    return try_network(model, contract, loss, record, labels)


class Named(nn.Module):
    def forward(self, x):
        return {"pair": x[:, :2], "y": x[:, 0]}


def test_outputs_are_found_by_place_or_by_name():
    pair, one = Target(column="pair", shape=(2,)), Target(column="y", shape=())
    assert tried(nn.Linear(3, 1), spec()).outputs == (Output(name="y", shape=(1,)),)
    found = tried(Named(), spec(one, pair))
    assert found.keyed
    assert found.outputs == (Output(name="y", shape=()), Output(name="pair", shape=(2,)))
    assert tried(nn.Linear(3, 4), spec(), CrossEntropy()).outputs[0].shape == (4,)


@pytest.mark.parametrize(
    ("model", "contract", "message"),
    [
        (nn.Linear(5, 1), spec(), r"'x0' float32 \(N, 3\).*Linear expects \(N, \.\.\., 5\)"),
        (nn.Linear(3, 4), spec(), r"Got \(N, 4\) from the network and \(N,\) from label column"),
        (nn.Linear(3, 1), spec(inputs=2), "featuresCols names one column per argument"),
        (nn.Linear(3, 1), spec(dtype="int64"), "cast the column"),
        (row_nets.word_net(), spec(), "cast the column|Long|Int"),
        (Named(), spec(), r"a dict with the label columns as keys \(y\)"),
        (nn.Flatten(0), spec(), r"tensors \(2, \.\.\.\) for 2 rows"),
        (
            nn.Linear(3, 1),
            spec(Target(column="a", shape=()), Target(column="b", shape=())),
            r"as many as there are columns to learn \(a, b\)\. Got 1.*labelCols",
        ),
    ],
)
def test_what_does_not_fit_is_said_with_the_way_out(model, contract, message):
    with pytest.raises(InvalidValueError, match=message):
        tried(model, contract)


def test_the_network_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1), nn.Dropout()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    tried(model, spec())
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("outputs", "classes", "fits"),
    [(3, "abc", True), (1, "ab", True), (2, "ab", True), (1, "abc", False), (4, "abc", False)],
)
def test_classes_want_a_logit_each_or_one_for_two(outputs, classes, fits):
    contract = spec(Target(column="kind", shape=(), classes=tuple(classes)))
    if fits:
        assert tried(nn.Linear(3, outputs), contract, CrossEntropy()).classes == tuple(classes)
        return
    message = rf"\(N, 3\), a logit per class of label column 'kind' \(a, b, c\).*\(N, {outputs}\)"
    with pytest.raises(InvalidValueError, match=message):
        tried(nn.Linear(3, outputs), contract, CrossEntropy())
