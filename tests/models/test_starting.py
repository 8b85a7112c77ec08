"""Any model as the start of a run: where it ends, what it brings, what it wants to see."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from any_models import CAFFE, Untraceable, loaded, loaded_from_a_file, node, small_net, spec
from hilum.errors import ChecksumError, InvalidValueError
from hilum.models import architecture, create_model, factory, head_names
from hilum.models.designs import (
    design_from_json,
    design_to_json,
    load_start,
    save_start,
    write_design_files,
)
from hilum.models.graph import GraphNetwork
from hilum.models.recipes import GraphRecipe, LibraryRecipe, LoadedModel, PixelContract
from hilum.models.starting import (
    build_start,
    design_of_factory,
    find_head,
    start_of,
    wanted_pixels,
)
from hilum.models.transfer import new_classifier
from hilum.models.weights import WeightsReport
from hilum.preprocessing import Chain, ChannelNormalize, radiograph_chain


def test_everything_but_the_head_starts_as_it_is_in_the_file():
    model = loaded()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    start = start_of(model)
    network, report = build_start(start.architecture, start, 4, seed=7)
    after = network.state_dict()
    assert set(after) - set(before) == {"fc.1.weight", "fc.1.bias"}
    kept = [name for name in before if not name.startswith("fc.")]
    assert len(kept) == len(before) - 2
    assert all(torch.equal(after[name], before[name]) for name in kept)
    assert after["fc.1.weight"].shape == (4, 16)
    assert torch.equal(
        network.get_parameter("fc.1.weight"),
        new_classifier(start.architecture, 4, seed=7).get_parameter("fc.1.weight"),
    )
    assert report == model.report
    same = {name: tensor.equal(before[name]) for name, tensor in model.network.state_dict().items()}
    assert all(same.values()), "the loaded model is as it was"


def test_reports_call_the_network_by_its_file():
    assert start_of(loaded()).architecture.name == "tiny.caffemodel"


def test_a_random_start_of_a_design_is_random_and_not_zero():
    start = start_of(loaded())
    one, report = build_start(start.architecture, start, 4, weights="random", seed=1)
    again, _ = build_start(start.architecture, start, 4, weights="random", seed=1)
    assert report.kind == "random"
    for name in ("conv1.weight", "conv2.weight", "fc.1.weight"):
        assert one.get_parameter(name).std() > 0.01
        assert torch.equal(one.get_parameter(name), again.get_parameter(name))


def test_weights_of_another_network_are_refused():
    start = start_of(loaded())
    other = start_of(loaded(spec(channels=1), PixelContract()))
    with pytest.raises(InvalidValueError, match=r"start weights .* without a place \(conv1.weight"):
        build_start(start.architecture, other, 4)


@pytest.mark.parametrize(
    ("network", "head"),
    [
        (GraphNetwork(spec()), "fc"),
        (small_net(), "6"),
        (Untraceable(), "last"),
        (nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(3, 2))), "1.0"),
    ],
)
def test_the_last_linear_layer_is_found(network, head):
    assert find_head(network) == head


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (GraphNetwork(spec(end=(node("prob", "Softmax", "fc", dim=1),))), r"'prob \(Softmax\)'"),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), r"'1 \(ReLU\)'"),
        (GraphNetwork(spec().up_to("left", "right")), "2 outputs"),
    ],
)
def test_a_network_that_ends_otherwise_is_told_the_way_out(network, said):
    with pytest.raises(InvalidValueError, match=said) as caught:
        find_head(network)
    assert "transfer" in str(caught.value) or "one with one output" in str(caught.value)


def test_a_librarys_network_stays_the_librarys():
    network = architecture("timm:test_resnet").build()
    report = WeightsReport(source="x.safetensors", kind="file")
    start = start_of(
        LoadedModel(network=network, recipe=LibraryRecipe("timm:test_resnet"), report=report)
    )
    assert start.architecture == architecture("timm:test_resnet")
    built, _ = build_start(start.architecture, start, 3)
    assert torch.equal(built.conv1[0].weight, network.conv1[0].weight)


# --- what the network wants to see


def test_a_grey_radiograph_reaches_a_bgr_network_as_caffe_would_have_fed_it():
    """Caffe: planes in the order B, G, R, grey levels, the mean of B taken off plane B, ..."""
    grey = np.random.default_rng(0).integers(0, 256, (2, 32, 32), np.uint8)
    as_rgb_file = np.stack([grey] * 3, axis=1).astype(np.float32)
    as_bgr = as_rgb_file[:, ::-1]
    expected = as_bgr - np.array([103.939, 116.779, 123.68], np.float32)[:, None, None]
    pixels = wanted_pixels(start_of(loaded()))
    chain = radiograph_chain(32, pixels.mean, pixels.std, resize=32, augment=False)
    seen = chain(torch.from_numpy(grey)[:, None])
    np.testing.assert_allclose(seen.numpy(), expected, atol=2e-4)
    assert not np.allclose(seen.numpy()[:, ::-1], expected, atol=1.0), "the order matters"


@pytest.mark.parametrize(
    ("channels", "pixels", "mean"),
    [
        (3, PixelContract(), (0.485, 0.456, 0.406)),
        (3, PixelContract(channels="BGR"), (0.406, 0.456, 0.485)),
        (1, PixelContract(), (0.449,)),
        (1, PixelContract(mean=(0.5,), std=(0.5 / 1024,)), (0.5,)),
        (3, CAFFE, CAFFE.mean),
    ],
)
def test_what_a_file_does_not_say_of_its_pixels_is_assumed_and_said(channels, pixels, mean, caplog):
    wanted = wanted_pixels(start_of(loaded(spec(channels), pixels)))
    assert wanted.mean == mean
    assert len(wanted.std) == channels
    assert wanted.size_px == (pixels.size_px or (224, 224))
    assert ("are assumed" in caplog.text) == (pixels.mean is None)


def test_a_start_of_a_grey_network_is_fed_one_channel_whatever_its_design_assumed():
    start = start_of(loaded(spec(1), PixelContract()))
    assumed = replace(start.architecture, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert wanted_pixels(replace(start, architecture=assumed)).mean == (0.449,)


def test_what_was_frozen_in_a_loaded_model_is_named():
    model = loaded()
    model.network.get_submodule("left").requires_grad_(False)
    model.network.get_submodule("fc").requires_grad_(False)
    assert start_of(model).frozen == ("left.weight", "left.bias"), "the new head always learns"


def test_a_mean_without_a_deviation_divides_by_nothing():
    pixels = PixelContract(mean=(0.1, 0.2, 0.3))
    assert wanted_pixels(start_of(loaded(pixels=pixels))).std == (1.0, 1.0, 1.0)


def test_one_mean_is_that_of_every_channel():
    wanted = wanted_pixels(start_of(loaded(pixels=PixelContract(mean=(0.5,), std=(0.5,)))))
    assert (wanted.mean, wanted.std) == ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    ("channels", "pixels", "said"),
    [(4, PixelContract(), "1 or 3 channels"), (1, CAFFE, "of 1 channels. Got 3")],
)
def test_networks_for_other_images_are_refused(channels, pixels, said):
    with pytest.raises(InvalidValueError, match=said):
        start_of(loaded(spec(channels), pixels))


def test_the_default_chain_takes_height_and_width():
    chain = radiograph_chain((32, 48), (0.5,), (0.25,), channels=1)
    assert chain.output_shape((1, 500, 400)) == (1, 32, 48)
    square = radiograph_chain(224, (0.5,), (0.25,), channels=1)
    assert (square.steps[0].height, square.steps[0].width) == (240, 240)


# --- storage


def test_a_design_goes_through_json_and_back():
    design = start_of(loaded()).architecture
    again = design_from_json(json.loads(json.dumps(design_to_json(design))))
    assert again == design
    assert again.recipe == design.recipe == GraphRecipe(spec())
    one, other = create_model(again, 3), create_model(design, 3)
    assert list(one.state_dict()) == list(other.state_dict())
    assert head_names(again) == ("fc.1.weight", "fc.1.bias")


def test_a_start_is_saved_and_loaded(tmp_path):
    before = start_of(loaded())
    save_start(before, str(tmp_path))
    after = load_start(str(tmp_path))
    assert after.architecture == before.architecture
    assert (after.report, after.pixels) == (before.report, before.pixels)
    assert (after.dropout, after.head_weight_decay) == (0.2, 0.01)
    assert (after.findings, after.frozen) == (5, ())
    assert set(after.tensors) == set(before.tensors)
    assert all(torch.equal(after.tensors[name], t) for name, t in before.tensors.items())


@pytest.fixture
def design_with_a_file(tmp_path, monkeypatch):
    return start_of(loaded_from_a_file(tmp_path, monkeypatch)).architecture


def test_files_of_a_recipe_are_copied_beside(design_with_a_file, tmp_path):
    data = json.loads(json.dumps(design_to_json(design_with_a_file)))
    write_design_files(design_with_a_file, str(tmp_path / "run"))
    again = design_from_json(data, str(tmp_path / "run"))
    assert not str(again.recipe.path).startswith(str(tmp_path)), "it outlives the run directory"
    assert list(again.build().state_dict()) == list(design_with_a_file.build().state_dict())
    write_design_files(design_with_a_file, "memory://any-model/run")
    assert design_from_json(data, "memory://any-model/run").recipe.spec == spec()


def test_a_changed_or_missing_file_of_a_recipe_is_refused(design_with_a_file, tmp_path):
    data = design_to_json(design_with_a_file)
    with pytest.raises(ChecksumError, match="no file"):
        design_from_json(data, str(tmp_path / "nowhere"))
    write_design_files(design_with_a_file, str(tmp_path / "run"))
    (tmp_path / "run/network/net.json").write_text("{}")
    with pytest.raises(ChecksumError, match="copy it again"):
        design_from_json(data, str(tmp_path / "run"))


@pytest.mark.parametrize("name", ["../net.json", "/etc/passwd", "a/b", ".hidden", ""])
def test_a_name_that_leads_elsewhere_is_refused(design_with_a_file, tmp_path, name):
    data = design_to_json(design_with_a_file) | {"files": {name: "0"}}
    with pytest.raises(InvalidValueError, match="a plain name"):
        design_from_json(data, str(tmp_path))


@pytest.mark.parametrize(
    "change", [{"recipe": None}, {"files": 3}, {"mean": 3}, {"recipe": {"kind": "pickle"}}]
)
def test_a_damaged_design_is_said(change):
    data = design_to_json(start_of(loaded()).architecture) | change
    with pytest.raises(InvalidValueError):
        design_from_json(data)


# --- made by a function


def test_a_function_makes_a_design():
    design = design_of_factory(factory(small_net, width=4))
    assert (design.name, design.head) == ("any_models:small_net", "6")
    assert (design.mean, design.std) == ((0.449,), (0.226,))
    again = design_from_json(json.loads(json.dumps(design_to_json(design))))
    model, report = build_start(again, None, 3, seed=1)
    assert model[0].weight.shape == (4, 1, 3, 3)
    assert model[0].weight.std() > 0.01, "as the function makes it, not zero"
    assert (report.kind, report.note) == ("random", "")
    chain = Chain((ChannelNormalize(design.mean, design.std),))
    assert model(chain(torch.zeros(2, 1, 32, 32, dtype=torch.uint8))).shape == (2, 3)
