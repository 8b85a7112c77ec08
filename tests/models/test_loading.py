"""One door: names, files of any format, files anywhere."""

import importlib.util
import struct
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import safetensors.torch
import torch

from hilum.errors import InvalidValueError, MissingDependencyError
from hilum.models import architecture, load
from hilum.models.recipes import LibraryRecipe
from hilum.models.recognition import FORMATS, recognise


def small():
    return architecture("timm:test_resnet").build()


@pytest.fixture
def tensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(small().state_dict(), path)
    return path


def test_a_name_starts_at_random_and_says_so():
    model = load("timm:test_resnet", weights="random", seed=3)
    assert model.report.kind == "random"
    assert model.recipe == LibraryRecipe("timm:test_resnet")
    assert model.network(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
    again = load("timm:test_resnet", weights="random", seed=3)
    assert torch.equal(again.network.fc.weight, model.network.fc.weight)


def test_packaged_weights_are_complete_and_their_pixels_known():
    model = load("efficientnet_lite0", weights="published")
    assert (model.report.kind, model.report.missing) == ("published", ())
    assert len(model.report.sha256) == 64
    assert model.pixels.mean == (0.5, 0.5, 0.5)
    assert not model.network.training


def test_a_file_of_tensors_finds_its_places(tensors):
    model = load(tensors, architecture="timm:test_resnet")
    expected = safetensors.torch.load_file(tensors)
    state = model.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert (model.report.missing, model.report.unexpected, model.report.mismatched) == ((), (), ())
    with pytest.raises(InvalidValueError, match="architecture="):
        load(tensors)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_a_file_of_torch_save_is_known_by_its_content(tmp_path, old):
    path = tmp_path / "weights.bin.pth"
    torch.save(small().state_dict(), path, _use_new_zipfile_serialization=not old)
    assert recognise(path) == "tensors"
    assert load(path, architecture="timm:test_resnet").report.missing == ()


def test_what_has_no_place_is_reported_and_logged(tmp_path, caplog):
    state = small().state_dict()
    state["fc.weight"], state["extra"] = torch.zeros(14, 3), torch.zeros(2)
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    report = load(tmp_path / "w.safetensors", architecture="timm:test_resnet").report
    assert "fc.weight" in report.mismatched
    assert report.unexpected == ("extra",)
    assert "random start of fc" in caplog.text


def test_a_hole_in_the_backbone_is_an_error(tmp_path):
    state = small().state_dict()
    name = next(iter(state))
    del state[name]
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InvalidValueError, match=rf"1 absent \({name}\)"):
        load(tmp_path / "w.safetensors", architecture="timm:test_resnet")


def test_files_on_remote_storage_are_read_where_they_are(tensors):
    with fsspec.open("memory://models/weights.safetensors", "wb") as file:
        file.write(tensors.read_bytes())
    url = "memory://models/weights.safetensors"
    model = load(url, architecture="timm:test_resnet")
    assert model.report.source == url
    state = small().state_dict().keys()
    assert model.network.state_dict().keys() == state
    model.network(torch.zeros(1, 3, 32, 32))  # the copy on disk is gone by now
    with pytest.raises(InvalidValueError, match="can be read"):
        load("memory://models/missing.onnx")


def test_a_name_nobody_knows_gets_those_that_are():
    with pytest.raises(InvalidValueError, match=r"resnet50.*timm:NAME"):
        load("resnet51")


def test_without_weights_to_be_had_the_way_out_is_said():
    with pytest.raises(MissingDependencyError, match="weights"):
        load("timm:test_resnet", weights="published")


def archive(path, *names):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"")


NODE = b"\x0a\x05input\x12\x0bPlaceholder"
FORMS = {
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(8),
    "torch7": struct.pack("<iii", 4, 1, 3) + b"V 1",
    "onnx": b"\x08\x08\x12\x07pytorch\x3a\x02\x12\x00\x42\x02\x10\x11",
    "tensorflow": b"\x0a" + bytes([len(NODE)]) + NODE,
    "caffe": b"\x0a\x09GoogLeNet\xa2\x06\x02\x0a\x00",
    "bigdl": b"\x0a\x05graph\x12\x00\x3a\x03com",
}


@pytest.mark.parametrize("form", FORMS)
def test_formats_are_told_by_content_whatever_the_name(form, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(FORMS[form])
    assert recognise(path) == form


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("keras", ["metadata.json", "config.json", "model.weights.h5"]),
        ("torch.export", ["net/archive_format", "net/models/model.json"]),
        ("torchscript", ["net/data.pkl", "net/constants.pkl", "net/code/net.py"]),
        ("tensors", ["net/data.pkl", "net/data/0"]),
    ],
)
def test_archives_are_told_by_their_members(form, names, tmp_path):
    archive(tmp_path / "model.zip", *names)
    assert recognise(tmp_path / "model.zip") == form


def test_a_saved_model_is_a_directory_and_needs_trust(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert recognise(tmp_path) == "savedmodel"
    with pytest.raises(InvalidValueError, match="trust=True"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "format Hilum reads"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "format Hilum reads"),
        (b"\xac\xed\x00\x05sr", "serialised by Java"),
        (b'name: "net"\ninput: "data"\n' * 4, "text"),
        (np.random.default_rng(0).bytes(300), "format Hilum reads"),
    ],
)
def test_other_files_are_refused_with_the_formats_there_are(content, hint, tmp_path):
    path = tmp_path / "model.prototxt"
    path.write_bytes(content)
    with pytest.raises(InvalidValueError, match=hint) as refused:
        load(path)
    assert all(text in str(refused.value) for text in FORMATS.values())


def test_torch7_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "net.t7").write_bytes(FORMS["torch7"])
    with pytest.raises(InvalidValueError, match="load_lua"):
        load(tmp_path / "net.t7")


def test_a_caffe_model_needs_its_definition(tmp_path):
    (tmp_path / "net.caffemodel").write_bytes(FORMS["caffe"])
    with pytest.raises(InvalidValueError, match="definition"):
        load(tmp_path / "net.caffemodel")


def test_torchxrayvision_s_network_computes_the_same_on_grey_images(tmp_path):
    """Its DenseNet is torchvision's with one channel and 18 outputs, fed with -1024 to 1024."""
    from torchvision.models import densenet121

    from hilum.models.xrv import three_channels

    theirs = densenet121(num_classes=18)
    theirs.features.conv0 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    state = theirs.eval().state_dict()
    state["op_threshs"] = torch.zeros(18)
    safetensors.torch.save_file(three_channels(state), tmp_path / "xrv.safetensors")
    model = load("xrv:densenet121", weights=tmp_path / "xrv.safetensors")
    assert (model.report.missing, model.report.unexpected) == ((), ())
    grey = torch.rand(2, 1, 64, 64)
    mean, std = (torch.tensor(n).view(1, 3, 1, 1) for n in (model.pixels.mean, model.pixels.std))
    with torch.no_grad():
        expected = theirs((2 * grey - 1) * 1024)
        found = model.network((grey.repeat(1, 3, 1, 1) - mean) / std)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_pickled_networks_of_torchxrayvision_are_refused_with_the_way_out():
    with pytest.raises(InvalidValueError, match="three_channels"):
        load("xrv:densenet121-res224-nih")


def test_the_door_finds_the_roads_of_2019():
    data = Path(__file__).parent / "data"
    bigdl = load(data / "small.bigdl")
    caffe = load(data / "small.caffemodel", definition=data / "small.prototxt")
    graph = load(data / "nhwc.pb", inputs=["image"], outputs=["prob"])
    for loaded, stored in ((bigdl, "small_bigdl_io"), (caffe, "small_io"), (graph, "nhwc_io")):
        reference = np.load(data / f"{stored}.npz")
        images = reference["image"]
        if loaded is graph:  # TensorFlow has channels last
            images = images.transpose(0, 3, 1, 2)
        with torch.no_grad():
            found = loaded.network(torch.from_numpy(np.ascontiguousarray(images)))
        np.testing.assert_allclose(found.numpy(), reference["prob"], atol=1e-4)
    with pytest.raises(InvalidValueError, match="inputs must be"):
        load(data / "nhwc.pb")


def test_a_saved_model_without_tensorflow_says_what_to_do(tmp_path):
    if importlib.util.find_spec("tensorflow") is not None:
        pytest.skip("TensorFlow is installed")
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(MissingDependencyError, match=r"TensorFlow.*\.keras"):
        load(tmp_path, trust=True)
