import numpy as np
import pytest
import torch
from torch import nn

import wire_writer as wire
from caffe_files import CaffeNet, caffe_of
from hilum.errors import InvalidValueError
from hilum.models.graph import GraphNetwork
from hilum.models.roads.caffe import load_caffe
from road_values import DATA, largest_difference, values_at

# What OpenCV calls by the blob's name, by the layer that wrote the blob last.
WRITERS = {
    "pool1": "pool1",
    "pool1/norm1": "pool1/norm1",
    "mix/output": "mix/output",
    "sum": "sum",
    "pool4": "pool4",
    "pool5": "drop",
    "prob": "prob",
}


@pytest.fixture(scope="module")
def small():
    return load_caffe(DATA / "small.prototxt", DATA / "small.caffemodel")


@pytest.mark.parametrize("blob", WRITERS)
def test_a_caffe_network_computes_what_opencv_makes_of_it(small, blob):
    reference = np.load(DATA / "small_io.npz", allow_pickle=False)
    (value,) = values_at(small, reference["image"], WRITERS[blob])
    assert largest_difference(value, reference[blob]) < 2e-5


def test_layers_that_work_in_place_are_nodes_of_their_own(small):
    names = small.recipe.spec.names()
    assert names[:5] == ("conv1", "bn_conv1", "scale_conv1", "conv1_relu", "pool1")
    assert small.recipe.spec.outputs == ("prob",)


def test_pixels_are_blue_green_red(small):
    assert small.pixels.channels == "BGR"
    assert small.pixels.size_px == (18, 15)


def randomised(network):
    """Statistics that matter, and outputs of a sane size."""
    generator = torch.Generator().manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                tensor.uniform_(0.5, 1.0, generator=generator)
            for tensor in (part.bias.data, part.running_mean):
                tensor.uniform_(-0.2, 0.2, generator=generator)
    return network.eval()


def resnet50():
    from torchvision.models.resnet import Bottleneck, ResNet

    network = ResNet(Bottleneck, [3, 4, 6, 3], num_classes=14, width_per_group=4)
    network.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)  # Caffe's: rounds up, has no border
    return network


def densenet121():
    from torchvision.models.densenet import DenseNet

    network = DenseNet(4, (6, 12, 24, 16), num_init_features=8, num_classes=14)
    network.features.pool0 = nn.MaxPool2d(3, 2, ceil_mode=True)
    for block in network.features.children():
        if hasattr(block, "pool"):
            block.pool = nn.AvgPool2d(2, 2, ceil_mode=True)
    return network


def googlenet():
    from torchvision.models.googlenet import GoogLeNet

    return GoogLeNet(num_classes=14, aux_logits=False, transform_input=False, init_weights=False)


def vgg16():
    from torchvision.models.vgg import make_layers

    widths = [4, 4, "M", 6, 6, "M", 8, 8, 8, "M", 8, 8, 8, "M", 8, 8, 8, "M"]
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(32, 10), nn.ReLU(True), nn.Dropout())
    return nn.Sequential(make_layers(widths), classifier, nn.Linear(10, 14))


@pytest.mark.parametrize("build", [resnet50, densenet121, googlenet, vgg16])
def test_whole_networks_in_caffe_files_compute_what_torchvision_computes(build, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = randomised(build())
        image = torch.randn(1, 3, 64, 64)
    loaded = load_caffe(*caffe_of(network, image, tmp_path))
    with torch.no_grad():
        expected, found = network(image), loaded.network(image)
    assert expected.shape == (1, 14)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert loaded.report.unexpected == ()
    places = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in loaded.network.parameters()) == places


def written(tmp_path, layers, model=b"", head='input: "data" input_dim: [1, 3, 8, 8]'):
    (tmp_path / "net.prototxt").write_text(f"{head}\n{layers}", encoding="utf-8")
    (tmp_path / "net.caffemodel").write_bytes(model)
    return load_caffe(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")


def layer(name, kind, bottom, more=""):
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" {more} }}\n'


def test_files_of_2013_are_read_with_their_names_of_types(tmp_path):
    layers = """
    layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1"
             convolution_param { num_output: 2 kernel_size: 1 } }
    layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
    layers { name: "fc" type: INNER_PRODUCT bottom: "conv1" top: "fc"
             inner_product_param { num_output: 1 } }
    layers { name: "loss" type: SOFTMAX_LOSS bottom: "fc" bottom: "label" top: "loss" }
    """

    def old_blob(*dims):
        count = int(np.prod(dims))
        return wire.block(
            6,
            b"".join(wire.integer(1 + i, size) for i, size in enumerate(dims))
            + wire.floats(5, np.arange(count) - 1.0),
        )

    conv = wire.block(4, "conv1") + old_blob(2, 3, 1, 1) + old_blob(1, 1, 1, 2)
    linear = wire.block(4, "fc") + old_blob(1, 1, 1, 2) + old_blob(1, 1, 1, 1)
    head = 'input: "data" input_dim: [1, 3, 1, 1]'
    loaded = written(tmp_path, layers, wire.block(2, conv) + wire.block(2, linear), head)
    image = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    # conv: (-1, 0, 1) . (1, 2, 3) - 1 = 1 and (2, 3, 4) . (1, 2, 3) + 0 = 20; fc: -1 * 1 + 0 - 1
    with torch.no_grad():
        assert loaded.network(image).tolist() == [[-2.0]]
    assert loaded.recipe.spec.outputs == ("fc",)


def test_training_definitions_say_what_is_subtracted_from_pixels(tmp_path):
    layers = """
    layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } }
    layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
            transform_param { crop_size: 224 scale: 0.5
                              mean_value: 104 mean_value: 117 mean_value: 123 } }
    """ + layer("act", "TanH", "data")
    pixels = written(tmp_path, layers, head="").pixels
    assert pixels.size_px == (224, 224)
    grey = np.array([255.0, 0.0, 128.0]) / 255  # of 0..1, blue first
    seen = (grey - np.array(pixels.mean)) / np.array(pixels.std)
    assert seen == pytest.approx((np.array([255, 0, 128]) - np.array([104, 117, 123])) * 0.5)


def test_of_several_ends_the_last_is_the_output(tmp_path):
    layers = layer("a", "TanH", "data") + layer("b", "Sigmoid", "data")
    loaded = written(tmp_path, layers)
    assert loaded.recipe.spec.outputs == ("b",)
    assert "a" in loaded.report.note


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("Power", "power_param { power: 2 scale: 3 shift: 1 }", 49.0),
        ("ELU", "elu_param { alpha: 2 }", 2.0),
        ("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", 2.0),
        ("Flatten", "", 2.0),
        ("Split", "", 2.0),
        ("Softmax", "", 1.0),
    ],
)
def test_layers_without_weights_compute_what_caffe_defines(tmp_path, kind, settings, expected):
    loaded = written(tmp_path, layer("out", kind, "data", settings))
    assert loaded.network(torch.full((1, 1, 1, 1), 2.0)).item() == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [("operation: MAX", 2.0), ("operation: PROD", -2.0), ("coeff: 3 coeff: -1", 7.0), ("", 1.0)],
)
def test_eltwise_combines_as_it_says(tmp_path, settings, expected):
    two = 'layer { name: "x" type: "Eltwise" bottom: "data" bottom: "n" top: "x" '
    two += f"eltwise_param {{ {settings} }} }}"
    negative = layer("n", "Power", "data", "power_param { scale: -0.5 }")
    loaded = written(tmp_path, negative + two)
    assert loaded.network(torch.full((1, 1, 1, 1), 2.0)).item() == expected


def test_bigdls_writer_of_caffe_files_loses_the_statistics_of_batch_norms(real_data, tmp_path):
    """What it writes in their place are the weights; read as such, the numbers agree."""
    folder = real_data / "models"
    definition, weights = folder / "pool.prototxt", folder / "pool.caffemodel"
    with pytest.raises(InvalidValueError, match="loses a batch norm's statistics"):
        load_caffe(definition, weights)
    text = definition.read_text(encoding="utf-8")
    text = text.replace('type: "BatchNorm"', 'type: "Scale" scale_param { bias_term: true }')
    (tmp_path / "net.prototxt").write_text(text, encoding="utf-8")
    loaded = load_caffe(tmp_path / "net.prototxt", weights)
    io = np.load(folder / "pool_io.npz", allow_pickle=False)
    (value,) = values_at(loaded, io["input"], "pool5")
    assert largest_difference(value, io["output"]) < 1e-5  # statistics were those of a new network


def test_weights_of_another_network_are_refused(tmp_path):
    convolution = layer(
        "conv1", "Convolution", "data", "convolution_param { num_output: 2 kernel_size: 3 }"
    )
    with pytest.raises(InvalidValueError, match="2 blobs in the caffemodel"):
        written(tmp_path, convolution)
    net = CaffeNet("data", (1, 3, 8, 8))
    net.layer("conv1", "Convolution", ["data"], blobs=[torch.ones(2, 3, 3, 4), torch.ones(2)])
    with pytest.raises(InvalidValueError, match=r"\(3, 3\), as defined"):
        written(tmp_path, convolution, b"".join(net.model))
    net.layer("conv1", "Convolution", ["data"], blobs=[torch.ones(2, 4, 3, 3), torch.ones(2)])
    with pytest.raises(InvalidValueError, match="fit together"):
        written(tmp_path, convolution, b"".join(net.model))
    net.layer("conv1", "Convolution", ["data"], blobs=[torch.ones(3, 3, 3, 3), torch.ones(2)])
    with pytest.raises(InvalidValueError, match="numbers, shape"):
        written(tmp_path, convolution, b"".join(net.model))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (layer("a", "Python", "data"), "type of Caffe layer 'a' must be one of"),
        (layer("a", "ReLU", "nothing"), "must be a blob that a layer before it writes"),
        (layer("a", "Pooling", "data", "pooling_param { pool: STOCHASTIC }"), "MAX or AVE"),
        (layer("a", "Pooling", "data"), "kernel_size"),
        (layer("a", "LRN", "data", "lrn_param { norm_region: WITHIN_CHANNEL }"), "ACROSS_CHANNELS"),
        (layer("a", "LRN", "data", "lrn_param { local_size: 4 }"), "must be odd"),
        (layer("a", "Dropout", "data", "dropout_param { dropout_ratio: lots }"), "a number"),
        ('layers { layer { name: "a" type: "relu" } }', "of the year 2014"),
        ("layer {", "the end of the file"),
        ("layer { name: [ }", "in line 2"),
        ("%!PS", "text format"),
        ("", "a layer of output"),
    ],
)
def test_what_is_not_understood_is_said(tmp_path, layers, message):
    with pytest.raises(InvalidValueError, match=message):
        written(tmp_path, layers)


def test_messages_in_text_may_be_nested_as_deep_as_they_like(tmp_path):
    with pytest.raises(InvalidValueError, match="the end of the file"):
        written(tmp_path, "a {" * 20_000)


def test_names_that_python_or_pytorch_has_are_changed(tmp_path):
    layers = layer("forward", "ReLU", "data") + layer("a.b", "TanH", "forward")
    loaded = written(tmp_path, layers + layer('x\\"+y', "Sigmoid", "a.b"))
    assert loaded.recipe.spec.names() == ("forward_", "a_b", "x_+y")
    assert isinstance(loaded.network, GraphNetwork)
    assert loaded.network(torch.zeros(1, 3, 8, 8)).mean().item() == pytest.approx(0.5)
