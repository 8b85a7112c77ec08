"""ONNX files, of `onnx`'s own tests and exported by torch, give what onnxruntime computes."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models import load
from hilum.models.roads.onnx import NEWEST_OPSET, OLDEST_OPSET, load_onnx

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def run(path, images):
    """What onnxruntime makes of images."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(path), options)
    return session.run(None, {session.get_inputs()[0].name: images})


def agree(path, images, *, atol=2e-6):
    expected = run(path, images)
    with torch.no_grad():
        found = load(path).network(torch.from_numpy(images))
    found = found if isinstance(found, tuple) else (found,)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(
            ours.numpy(), theirs, rtol=0, atol=atol * max(1, np.abs(theirs).max())
        )


@pytest.mark.parametrize(
    "name", ["densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet"]
)
def test_the_light_models_of_onnx_itself(name):
    random = np.random.default_rng(0)
    agree(LIGHT / f"light_{name}.onnx", random.standard_normal((1, 3, 224, 224), np.float32))


class Zoo(nn.Module):
    """Operators that torch exports, in one small network."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, (3, 5), stride=2, padding=(1, 2))
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, dilation=2, groups=4)
        self.slope = nn.PReLU(8)
        self.group_norm = nn.GroupNorm(2, 8)
        self.layer_norm = nn.LayerNorm(8)
        self.scale = nn.Parameter(torch.rand(8, 1, 1))
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(16, 5)

    def forward(self, image):
        x = nn.functional.hardswish(self.norm(self.first(image * 2 - 0.5)))
        x = self.slope(self.grouped(x)) * self.scale
        x = self.layer_norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = nn.functional.gelu(x) + nn.functional.silu(x)
        left, right = x.chunk(2, dim=1)
        x = torch.cat([nn.functional.leaky_relu(left), right.sigmoid()], 1)
        x = nn.functional.max_pool2d(x, 3, 2, padding=1, ceil_mode=True)
        x = nn.functional.avg_pool2d(nn.functional.pad(x, (0, 1, 1, 0)), 2)
        x = nn.functional.elu(nn.functional.relu6(self.up(x)) - 0.25)
        x = torch.cat([x.mean((2, 3)), nn.functional.adaptive_max_pool2d(x, 1).flatten(1)], 1)
        return self.head(torch.cat([x, x / 3], 1)).softmax(1)


def zoo():
    torch.manual_seed(0)
    network = Zoo()
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return network.eval()


def exported(network, path, opset, images):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (images,),
            str(path),
            opset_version=opset,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    return path


@pytest.mark.parametrize("opset", [18, 20])
def test_what_torch_exports(tmp_path, opset):
    images = torch.randn(2, 3, 33, 38)
    path = exported(zoo(), tmp_path / "zoo.onnx", opset, images)
    agree(path, torch.randn(3, 3, 33, 38).numpy(), atol=1e-5)


def one(kind, shape, constants=(), opset=17, outputs=("y",), **attributes):
    """A file of one operator that reads an image `x` and constants."""
    names = [f"c{number}" for number in range(len(constants))]
    node = helper.make_node(kind, ["x", *names], list(outputs), name="node", **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(c, n) for c, n in zip(constants, names, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def weights(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


IMAGE = (4, 9, 7)
OPERATORS = [
    one("Conv", IMAGE, [weights(6, 4, 3, 2)], pads=[1, 0, 2, 1], strides=[2, 2]),
    one("Conv", IMAGE, [weights(6, 4, 3, 2), weights(6)], auto_pad="SAME_UPPER", strides=[2, 2]),
    one("Conv", IMAGE, [weights(6, 4, 3, 3)], auto_pad="VALID", dilations=[2, 2]),
    one("ConvTranspose", IMAGE, [weights(4, 3, 3, 3)], strides=[2, 2], pads=[1, 1, 1, 1]),
    one("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    one("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    one("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    one("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[0, 0, 1, 1]),
    one("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[0, 0, 1, 1], count_include_pad=1),
    one("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    one("LRN", IMAGE, size=3, alpha=0.1, beta=0.5, bias=2.0),
    one("InstanceNormalization", IMAGE, [weights(4), weights(4)]),
    one("LayerNormalization", IMAGE, [weights(7), weights(7)], axis=-1),
    one("Gemm", (5,), [weights(5, 3), weights(3)], alpha=0.5, beta=2.0),
    one("Gemm", (5,), [weights(3, 5)], transB=1),
    one("MatMul", (6, 5), [weights(5, 3)]),
    one("PRelu", IMAGE, [weights(4, 1, 1)]),
    one("Add", IMAGE, [weights(4, 1, 1)]),
    one("Mul", IMAGE, [weights(9, 1)]),
    one("Sub", IMAGE, [weights(1)]),
    one("Div", IMAGE, [weights(1, 4, 1, 1)]),
    one("Clip", IMAGE, [np.float32(-0.5), np.float32(0.3)]),
    one("HardSigmoid", IMAGE, alpha=0.3, beta=0.4),
    one("Softmax", IMAGE, axis=1),
    one("LogSoftmax", (5,), axis=1, opset=11),
    one("ReduceMean", IMAGE, axes=[-1, 2], keepdims=0),
    one("ReduceMean", IMAGE, [np.array([1])], keepdims=1, opset=18),
    one("Flatten", IMAGE),
    one("Reshape", IMAGE, [np.array([0, 2, 2, -1])]),
    one("Reshape", IMAGE, [np.array([-1, 252])]),
    one("Transpose", IMAGE, perm=[0, 3, 1, 2]),
    one("Squeeze", (1, 5, 1), [np.array([1, -1])]),
    one("Unsqueeze", IMAGE, [np.array([1, -1])]),
    one("Pad", IMAGE, [np.array([0, 0, 1, 2, 0, 1, -1, 0]), np.float32(0.5)]),
    one("Slice", IMAGE, *[[np.array(n) for n in ([1, 0], [4, 2**62], [1, 3], [2, 1])]]),
    one("Split", IMAGE, [np.array([1, 3])], outputs=("y", "z"), axis=1),
    one("Resize", IMAGE, [weights(0), np.array([1, 1, 2, 3], np.float32)], mode="linear"),
    one("Identity", IMAGE),
    one("Erf", IMAGE),
    one("Gelu", IMAGE, approximate="tanh", opset=20),
    one("GroupNormalization", IMAGE, [weights(4), weights(4)], num_groups=2, opset=21),
]


@pytest.mark.parametrize("model", OPERATORS, ids=lambda model: model.graph.node[0].op_type)
def test_each_operator_computes_what_onnxruntime_does(tmp_path, model):
    path = tmp_path / "one.onnx"
    onnx.save(model, path)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    agree(path, np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (one("NonMaxSuppression", IMAGE), "Got NonMaxSuppression"),
        (one("Conv", (4, 9), [weights(6, 4, 3)]), "weights of node 'node' must be of rank 4"),
        (one("Reshape", IMAGE, [np.array([4, -1])]), "must be that of the batch"),
        (one("Transpose", IMAGE, perm=[1, 0, 2, 3]), "leaves the batch first"),
        (one("Concat", IMAGE, axis=0), "another than the batch"),
        (one("Resize", IMAGE, [weights(0), np.float32([1, 1, 0.5, 1])]), "1 or more"),
        (one("LRN", IMAGE, size=4), "must be odd"),
        (one("Add", IMAGE, [weights(2, 4, 1, 1)]), "same for every image"),
        (one("Gemm", (5,), [weights(4, 3)]), "node 'node' .Linear. must be able to read"),
        (one("Relu", IMAGE, opset=OLDEST_OPSET - 1), f"{OLDEST_OPSET} to {NEWEST_OPSET}"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.graph.node[0].op_type,
)
def test_what_cannot_be_read_is_named(tmp_path, model, message):
    path = tmp_path / "one.onnx"
    onnx.save(model, path)
    with pytest.raises(InvalidValueError, match=message):
        load(path)


def test_tensors_beside_the_file_are_read_from_its_folder_only(tmp_path):
    (tmp_path / "outside.bin").write_bytes(bytes(6 * 4 * 9 * 4))
    folder = tmp_path / "model"
    folder.mkdir()
    model = one("Conv", IMAGE, [weights(6, 4, 3, 3)])
    onnx.save(
        model,
        folder / "conv.onnx",
        save_as_external_data=True,
        location="conv.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    assert (folder / "conv.bin").is_file()
    agree(folder / "conv.onnx", weights(2, *IMAGE))
    for location in ("../outside.bin", str(tmp_path / "outside.bin")):
        model = onnx.load(folder / "conv.onnx", load_external_data=False)
        model.graph.initializer[0].external_data[0].value = location
        (folder / "bad.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(InvalidValueError, match="in the folder of the model"):
            load(folder / "bad.onnx")
    (folder / "conv.bin").unlink()
    with pytest.raises(InvalidValueError, match="copy it along"):
        load(folder / "conv.onnx")


def test_constants_larger_than_any_network_are_refused(tmp_path):
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["w"], name="huge"),
        helper.make_node("Add", ["x", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "huge",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "s")],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset]), tmp_path / "huge.onnx")
    with pytest.raises(InvalidValueError, match="at most"):
        load(tmp_path / "huge.onnx")


def test_outputs_cut_the_network_at_a_node(tmp_path):
    path = LIGHT / "light_squeezenet.onnx"
    name = next(n.output[0] for n in onnx.load(path).graph.node if n.op_type == "Concat")
    cut = load_onnx(path, outputs=[name])
    assert cut.network(torch.zeros(2, 3, 224, 224)).shape == (2, 128, 55, 55)
    with pytest.raises(InvalidValueError, match="Hint: the last ones are"):
        load_onnx(path, outputs=["pool9"])
