import numpy as np
import pytest
import torch

import wire_writer as wire
from hilum.errors import InvalidValueError
from hilum.models.roads.tensorflow import load_frozen_graph
from road_values import DATA, largest_difference, values_at

FLOAT, INT = 1, 3
OUTPUTS = ["stem/relu6", "mixed", "features", "prob"]


def test_a_graph_of_tensorflow_computes_what_tensorflow_computed():
    """NHWC, every border SAME and uneven, norms fused and taken apart, groups, a gate, LRN."""
    reference = np.load(DATA / "nhwc_io.npz", allow_pickle=False)
    loaded = load_frozen_graph(DATA / "nhwc.pb", "image:0", OUTPUTS)
    image = torch.from_numpy(reference["image"]).permute(0, 3, 1, 2)
    with torch.no_grad():
        values = loaded.network(image)
    for name, value in zip(OUTPUTS, values, strict=True):
        there = value.permute(0, 2, 3, 1) if value.dim() == 4 else value
        assert largest_difference(there.numpy(), reference[name]) < 2e-5, name
    assert loaded.pixels.channels == "RGB"
    assert loaded.pixels.size_px == (17, 14)


def test_a_graph_of_nchw_that_bigdl_wrote_computes_what_bigdl_computed_but_for_one_border(
    real_data,
):
    """BigDL writes a border of 1 as SAME, which is another one where the step is 2.

    TensorFlow 2.21 differs from BigDL by 0.0019 on this file and from the network here by 3e-8;
    with BigDL's own border in the first convolution, the network here gives BigDL's numbers.
    """
    folder = real_data / "models"
    io = np.load(folder / "graph_io.npz", allow_pickle=False)
    loaded = load_frozen_graph(folder / "graph.pb", ["input"], ["prob"])
    image = torch.from_numpy(io["input"])
    with torch.no_grad():
        assert largest_difference(loaded.network(image).numpy(), io["output"]) < 2e-3
        loaded.network.get_submodule("conv1/conv2D/pad").forward = lambda value: (
            torch.nn.functional.pad(value, (1, 0, 1, 0))
        )
        assert largest_difference(loaded.network(image).numpy(), io["output"]) < 1e-6


def test_the_graph_can_be_cut_and_learns():
    loaded = load_frozen_graph(DATA / "nhwc.pb", "image", "prob")
    image = np.zeros((1, 3, 17, 14), np.float32)
    assert values_at(loaded, image, "mixed")[0].shape == (1, 40, 5, 4)
    loaded.network.train()(torch.randn(2, 3, 17, 14)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.network.parameters())


# Kinds that the files above have not, written here; what they compute is checked by hand.


def text(value):
    return wire.block(2, value)


def whole(value):
    return wire.integer(3, value)


def numbers(*values):
    return wire.block(1, wire.packed(3, values))


def node(name, op, *reads, **attributes):
    fields = [wire.block(1, name), wire.block(2, op), *(wire.block(3, read) for read in reads)]
    fields += [wire.entry(5, key, value) for key, value in attributes.items()]
    return wire.block(1, b"".join(fields))


def shape_of(*sizes):
    return b"".join(wire.block(2, wire.integer(1, size)) for size in sizes)


def const(name, values):
    array = np.asarray(values)
    kind, dtype = (INT, "<i4") if array.dtype.kind == "i" else (FLOAT, "<f4")
    content = wire.block(4, array.astype(dtype).tobytes())
    tensor = wire.integer(1, kind) + wire.block(2, shape_of(*array.shape)) + content
    return node(name, "Const", value=wire.block(8, tensor))


def placeholder(*sizes):
    return node("image", "Placeholder", shape=wire.block(7, shape_of(*sizes)))


def load(tmp_path, *nodes, outputs="out"):
    path = tmp_path / "graph.pb"
    path.write_bytes(b"".join(nodes))
    return load_frozen_graph(path, "image", outputs)


def run(loaded, image):
    with torch.no_grad():
        return loaded.network(torch.as_tensor(image, dtype=torch.float32)).numpy()


@pytest.mark.parametrize(
    ("op", "constant", "first", "expected"),
    [
        ("Sub", 3.0, True, -1.0),
        ("Sub", 3.0, False, 1.0),
        ("Sub", [3.0, 5.0], False, [1.0, 3.0]),
        ("Sub", [3.0, 5.0], True, [-1.0, -3.0]),
        ("RealDiv", [4.0, 8.0], True, [0.5, 0.25]),
        ("RealDiv", 4.0, True, 0.5),
        ("Mul", [4.0, 8.0], False, [8.0, 16.0]),
        ("AddV2", [[[[1.0, 2.0]]]], True, [3.0, 4.0]),
    ],
)
def test_constants_on_either_side(tmp_path, op, constant, first, expected):
    reads = ("image", "c") if first else ("c", "image")
    nodes = placeholder(-1, 1, 1, 2), const("c", constant), node("out", op, *reads)
    value = run(load(tmp_path, *nodes), np.full((1, 2, 1, 1), 2.0))
    np.testing.assert_allclose(value.ravel(), np.broadcast_to(expected, 2))


def test_an_image_is_flattened_in_tensorflows_order(tmp_path):
    nodes = placeholder(-1, 2, 1, 3), const("s", [-1, 6]), node("out", "Reshape", "image", "s")
    image = np.arange(6.0).reshape(1, 2, 1, 3)  # as TensorFlow sees it
    value = run(load(tmp_path, *nodes), image.transpose(0, 3, 1, 2))
    assert value.ravel().tolist() == image.ravel().tolist()


def test_a_batch_that_the_graph_counts_itself_is_a_batch(tmp_path):
    """As tf.layers.flatten wrote it."""
    slicing = [const(name, [number]) for name, number in (("b", 0), ("e", 1), ("s", 1))]
    nodes = (
        placeholder(-1, 2, 2, 1),
        node("shape", "Shape", "image"),
        *slicing,
        node("n", "StridedSlice", "shape", "b", "e", "s", shrink_axis_mask=whole(1)),
        const("rest", -1),
        node("sizes", "Pack", "n", "rest"),
        node("out", "Reshape", "image", "sizes"),
    )
    assert run(load(tmp_path, *nodes), np.ones((3, 1, 2, 2))).shape == (3, 4)


def test_transposes_move_nothing(tmp_path):
    conv = {"strides": numbers(1, 1, 1, 1), "padding": text("VALID"), "data_format": text("NCHW")}
    nodes = (
        placeholder(-1, 4, 5, 3),
        const("turn", [0, 3, 1, 2]),
        node("turned", "Transpose", "image", "turn"),
        const("k", np.ones((1, 1, 3, 2))),
        node("out", "Conv2D", "turned", "k", **conv),
    )
    loaded = load(tmp_path, *nodes)
    assert loaded.pixels.size_px == (4, 5)
    assert [layer.layer for layer in loaded.recipe.spec.nodes] == ["Identity", "Conv2d"]
    assert run(loaded, np.ones((1, 3, 4, 5))).shape == (1, 2, 4, 5)


def test_means_and_squeezes_name_tensorflows_axes(tmp_path):
    nodes = (
        placeholder(-1, 4, 5, 3),
        const("axes", [1, 2]),
        node("mean", "Mean", "image", "axes", keep_dims=wire.integer(5, 1)),
        node("out", "Squeeze", "mean", squeeze_dims=numbers(1, 2)),
    )
    image = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    np.testing.assert_allclose(run(load(tmp_path, *nodes), image), image.mean((2, 3)), atol=1e-6)


def test_explicit_borders_may_be_uneven(tmp_path):
    more = {"strides": numbers(1, 1, 1, 1), "padding": text("EXPLICIT")}
    more["explicit_paddings"] = numbers(0, 0, 1, 0, 0, 2, 0, 0)
    nodes = placeholder(-1, 2, 2, 1), const("k", np.ones((1, 1, 1, 1)))
    value = run(
        load(tmp_path, *nodes, node("out", "Conv2D", "image", "k", **more)), np.ones((1, 1, 2, 2))
    )
    assert value[0, 0].tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


IMAGE = placeholder(-1, 4, 4, 2)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((node("out", "VariableV2"),), "no variables, no training"),
        ((node("out", "Relu", "nobody"),), "must be nodes of the graph"),
        ((node("out", "Relu", "image:1"),), "the first output of a node"),
        ((node("out", "Relu", "out"),), "without cycles"),
        ((node("out", "FusedBatchNormV3", "image"),), "is_training=False"),
        ((node("other", "Relu", "image"),), "there are 2, among them"),
        ((const("c", np.ones((4, 4, 1))), node("out", "Add", "image", "c")), "one per channel"),
        ((const("s", [8, 4]), node("out", "Reshape", "image", "s")), "a reshape to the batch"),
        ((const("a", 0), node("out", "Mean", "image", "a")), "not over the batch"),
        ((node("out", "MaxPool", "image", data_format=text("NCHW_VECT_C")),), "NHWC or NCHW"),
        ((const("out", 1.0),), "depend on the input"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, nodes, message):
    with pytest.raises(InvalidValueError, match=message):
        load(tmp_path, IMAGE, *nodes)


def filled(name, *sizes):
    tensor = wire.integer(1, FLOAT) + wire.block(2, shape_of(*sizes)) + wire.floats(5, [1.0])
    return node(name, "Const", value=wire.block(8, tensor))


def test_small_constants_cannot_stand_for_large_ones(tmp_path):
    for sizes in ((1 << 40,), (1 << 62, 1 << 62), (-5,)):
        with pytest.raises(InvalidValueError, match="constant"):
            load(tmp_path, IMAGE, filled("c", *sizes), node("out", "Add", "image", "c"))
    # Nor by multiplying a column with a row, nor by putting one a thousand times side by side.
    row, column = filled("r", 1, 1 << 20), filled("c", 1 << 20, 1)
    with pytest.raises(InvalidValueError, match="sane size"):
        load(
            tmp_path,
            IMAGE,
            row,
            column,
            node("p", "Mul", "r", "c"),
            node("out", "Add", "image", "p"),
        )
    many = node("p", "Pack", *["r"] * 1000)
    with pytest.raises(InvalidValueError, match="sane size"):
        load(tmp_path, IMAGE, row, many, node("out", "Add", "image", "p"))


def test_constants_that_repeat_their_last_number_or_are_zero_are_filled(tmp_path):
    nodes = IMAGE, filled("c", 2), node("out", "Mul", "image", "c")
    assert run(load(tmp_path, *nodes), np.full((1, 2, 4, 4), 3.0)).min() == 3.0
    zero = wire.block(8, wire.integer(1, FLOAT) + wire.block(2, shape_of(2)))
    nodes = IMAGE, node("c", "Const", value=zero), node("out", "Mul", "image", "c")
    assert run(load(tmp_path, *nodes), np.full((1, 2, 4, 4), 3.0)).max() == 0.0
