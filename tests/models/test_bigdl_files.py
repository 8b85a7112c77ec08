import json

import numpy as np
import pytest
import torch

import wire_writer as wire
from hilum.errors import ChecksumError, InvalidValueError
from hilum.models.recipes import GraphRecipe, recipe_of
from hilum.models.roads.bigdl import load_bigdl
from road_values import DATA, largest_difference, values_at

TYPES = "com.intel.analytics.bigdl.nn."


@pytest.fixture(scope="module")
def reference():
    return np.load(DATA / "small_bigdl_io.npz", allow_pickle=False)


@pytest.mark.parametrize("name", ["stem", "norm1", "inception", "block", "pool4", "prob"])
def test_a_network_that_bigdl_wrote_computes_what_bigdl_computed(reference, name):
    loaded = load_bigdl(DATA / "small.bigdl")
    (value,) = values_at(loaded, reference["image"], name)
    assert largest_difference(value, reference[name]) < 1e-5


def test_the_network_of_2019_with_weights_apart_computes_what_bigdl_computed(real_data):
    folder = real_data / "models"
    io = np.load(folder / "graph_io.npz", allow_pickle=False)
    loaded = load_bigdl(folder / "graph.bigdl", folder / "graph.bin")
    pooled, output = values_at(loaded, io["input"], "pool5", "prob")
    assert largest_difference(pooled, io["pool5"]) < 1e-6
    assert largest_difference(output, io["output"]) < 1e-6
    assert loaded.recipe.spec.names()[:4] == ("conv1", "bn1", "relu1", "pool1")
    assert loaded.report.loaded == 18
    assert loaded.report.unexpected == ()
    assert loaded.pixels.channels == "BGR"


def test_the_recipe_builds_the_network_again_elsewhere(reference):
    loaded = load_bigdl(DATA / "small.bigdl")
    again = recipe_of(json.loads(json.dumps(loaded.recipe.to_json()))).build().eval()
    again.load_state_dict(loaded.network.state_dict())
    image = torch.from_numpy(reference["image"])
    with torch.no_grad():
        assert torch.equal(again(image), loaded.network(image))


def test_the_network_learns(reference):
    network = load_bigdl(DATA / "small.bigdl").network.train()
    network(torch.from_numpy(reference["image"])).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_weights_apart_must_be_given(real_data):
    with pytest.raises(InvalidValueError, match=r"saved with a weights file\?"):
        load_bigdl(real_data / "models" / "graph.bigdl")


def test_weights_that_changed_on_the_way_are_refused(real_data, tmp_path):
    data = bytearray((real_data / "models" / "graph.bin").read_bytes())
    data[100] ^= 1
    (tmp_path / "graph.bin").write_bytes(data)
    with pytest.raises(ChecksumError, match="damaged"):
        load_bigdl(real_data / "models" / "graph.bigdl", tmp_path / "graph.bin")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "java.bigdl").write_bytes(b"\xac\xed\x00\x05sr\x00")
    with pytest.raises(InvalidValueError, match="BigDL model must be"):
        load_bigdl(tmp_path / "java.bigdl")
    with pytest.raises(InvalidValueError, match="an existing file"):
        load_bigdl(tmp_path / "nothing.bigdl")


# Kinds that the files above have not, written here; the numbers beside them are BigDL's arithmetic
# done by hand.


def attribute(name, field):
    return wire.entry(8, name, field)


def sizes(name, *numbers):
    return attribute(name, wire.block(15, wire.packed(3, numbers)))


def number(name, value):
    return attribute(name, wire.integer(3, value))


def real(name, value):
    return attribute(name, wire.double(6, value))


def tensor(values, identity):
    values = np.asarray(values, "<f4")
    strides = [stride // 4 for stride in values.strides]
    storage = wire.floats(2, values.ravel()) + wire.integer(9, identity)
    shape = wire.packed(2, values.shape) + wire.packed(3, strides) + wire.integer(4, 1)
    return wire.integer(1, 2) + shape + wire.block(8, storage)


def module(kind, *fields, name="", reads=(), package=TYPES):
    links = b"".join(wire.block(5, read) for read in reads)
    return (
        wire.block(1, name or kind.lower())
        + links
        + wire.block(7, package + kind)
        + b"".join(fields)
    )


def sequence(*modules):
    return module("Sequential", *(wire.block(2, inner) for inner in modules))


def load(tmp_path, data):
    path = tmp_path / "model.bigdl"
    path.write_bytes(data)
    return load_bigdl(path)


def output(loaded, image):
    with torch.no_grad():
        return loaded.network(torch.as_tensor(image, dtype=torch.float32)).numpy()


def test_weights_of_versions_up_to_0_5_are_found_where_they_were_kept(tmp_path):
    weight, bias = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [0.5, 0.0, -0.5]
    fields = wire.block(3, tensor(weight, 7)) + wire.block(4, tensor(bias, 8))
    linear = module("Linear", number("inputSize", 2), number("outputSize", 3), fields)
    assert output(load(tmp_path, sequence(linear)), [[1.0, 10.0]]).tolist() == [[21.5, 43.0, 64.5]]


@pytest.mark.parametrize(
    ("modules", "image", "expected"),
    [
        ([module("Power", real("power", 2.0), real("scale", 3.0), real("shift", 1.0))], 2.0, 49.0),
        ([module("MulConstant", real("constant", 3.0))], 2.0, 6.0),
        ([module("AddConstant", real("constant_scalar", 3.0))], 2.0, 5.0),
        ([module("LeakyReLU", real("negval", 0.5))], -2.0, -1.0),
        ([module("HardTanh", real("minValue", -1.0), real("maxValue", 1.0))], -2.0, -1.0),
        ([module("Threshold", real("th", 0.0), real("v", 0.0))], -2.0, 0.0),
        ([module("CMul", sizes("size", 1, 1), wire.block(3, tensor([[4.0]], 1)))], 2.0, 8.0),
        ([module("CAdd", sizes("size", 1, 1), wire.block(4, tensor([[4.0]], 1)))], 2.0, 6.0),
        ([module("Sigmoid"), module("Tanh")], 0.0, np.tanh(0.5)),
    ],
)
def test_simple_modules_compute_what_their_definition_says(tmp_path, modules, image, expected):
    value = output(load(tmp_path, sequence(*modules)), [[image]])
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shaping", "expected"),
    [
        (module("View", sizes("sizes", 8)), (2, 8)),
        (module("View", sizes("sizes", -1, 8)), (2, 8)),
        (module("Reshape", sizes("size", 4, 2)), (2, 4, 2)),
        (module("InferReshape", sizes("size", 0, -1)), (2, 8)),
        (module("Squeeze", sizes("dims", 3)), (2, 2, 4)),
        (module("Squeeze"), (2, 2, 4)),
        (module("Mean", number("dimension", 2), number("nInputDims", 3)), (2, 2, 4)),
        (module("Mean", number("dimension", 4)), (2, 2, 1)),
        (module("SpatialZeroPadding", number("padLeft", 1), number("padTop", 2)), (2, 2, 3, 5)),
    ],
)
def test_shapes_are_those_of_bigdl_with_a_batch_of_two(tmp_path, shaping, expected):
    assert output(load(tmp_path, sequence(shaping)), np.ones((2, 2, 1, 4))).shape == expected


def graph(*modules, ends):
    names = attribute("inputNames", wire.block(15, wire.block(7, "image")))
    last = attribute("outputNames", wire.block(15, wire.block(7, ends)))
    inner = [wire.block(2, part) for part in (module("Input", name="image"), *modules)]
    return module("StaticGraph", *inner, names, last)


def test_a_graph_may_come_in_any_order_but_not_in_a_circle(tmp_path):
    twice = module("CAddTable", name="sum", reads=("tanh", "image"))
    tanh = module("Tanh", name="tanh", reads=("image",))
    value = output(load(tmp_path, graph(twice, tanh, ends="sum")), [[1.0]])
    assert value.item() == pytest.approx(1 + np.tanh(1))
    circle = module("CAddTable", name="tanh", reads=("sum", "image"))
    with pytest.raises(InvalidValueError, match="without cycles"):
        load(tmp_path, graph(twice, circle, ends="sum"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (sequence(module("LSTM")), "type of BigDL module 'lstm' must be one of"),
        (
            module("Sequential", package="com.intel.analytics.bigdl.nn.keras."),
            "Keras-style modules are not read",
        ),
        (sequence(module("ReLU", attribute("format", wire.integer(16, 1)))), "must be NCHW"),
        (sequence(module("SpatialCrossMapLRN", number("size", 4))), "must be odd"),
        (sequence(module("View", sizes("sizes", -1))), "begins with the batch"),
        (sequence(module("Threshold", real("th", 1.0))), "a threshold of 0"),
        (graph(ends="nobody"), "outputNames"),
        (sequence(), "one layer or more"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, model, message):
    with pytest.raises(InvalidValueError, match=message):
        load(tmp_path, model)


def linear_with(weight):
    return sequence(
        module("Linear", number("inputSize", 2), number("outputSize", 2), wire.block(3, weight))
    )


def test_a_tensor_cannot_reach_beyond_its_numbers(tmp_path):
    stored = wire.block(8, wire.floats(2, [1.0, 2.0, 3.0]) + wire.integer(9, 1))
    outside = wire.packed(2, [2, 2]) + wire.packed(3, [2, 1]) + wire.integer(4, 1)
    repeated = wire.packed(2, [2, 2]) + wire.packed(3, [0, 0]) + wire.integer(4, 1)
    before = wire.packed(2, [2, 1]) + wire.packed(3, [1, 1]) + wire.integer(4, 0)
    for shape in (outside, repeated, before):
        with pytest.raises(InvalidValueError, match="within its storage"):
            load(tmp_path, linear_with(wire.integer(1, 2) + shape + stored))


def test_forks_of_forks_do_not_grow_without_end(tmp_path):
    fork = module("Input")
    for _ in range(60):
        fork = module("ConcatTable", wire.block(2, fork), wire.block(2, module("Input")))
    chain = [module("ConcatTable", *[wire.block(2, module("Input"))] * 2)] * 60
    for model in (sequence(*chain), sequence(fork)):
        with pytest.raises(InvalidValueError):
            load(tmp_path, model)


def test_modules_within_modules_have_a_limit(tmp_path):
    inner = module("ReLU")
    for _ in range(2000):
        inner = module("Sequential", wire.block(2, inner))
    with pytest.raises(InvalidValueError, match="nested more than"):
        load(tmp_path, inner)


def test_the_recipe_is_one_of_named_nodes():
    loaded = load_bigdl(DATA / "small.bigdl")
    assert isinstance(loaded.recipe, GraphRecipe)
    names = loaded.recipe.spec.names()
    # The inner modules of a container, and the container's own name for what it gives.
    assert [name for name in names if name.startswith("stem")] == [
        "stem/conv/pad",
        "stem/conv",
        "stem/bn",
        "stem/relu6",
        "stem",
    ]
