"""The paper's recipe in one call, on each of its topologies."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models import ARCHITECTURES, freeze_layers, head_names, set_train_mode, use_grey_stem
from hilum.models.graph import NetworkSpec, Node
from hilum.models.inspection import blueprint
from hilum.models.recipes import GraphRecipe, LoadedModel, PixelContract, TransferRecipe, recipe_of
from hilum.models.surgery import cut, freeze, transfer
from hilum.models.topologies import TOPOLOGIES
from hilum.models.transfer_start import architecture_of
from hilum.models.weights import WeightsReport


def images(side=32):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def filled(loaded):
    generator = torch.Generator().manual_seed(1)
    for parameter in loaded.network.parameters():
        parameter.data.uniform_(-0.1, 0.1, generator=generator)
    return loaded


@pytest.fixture(params=sorted(TOPOLOGIES))
def topology(request):
    return TOPOLOGIES[request.param]


def test_every_topology_of_the_paper_gets_a_head_for_14_findings(topology):
    start = transfer(blueprint(topology.name), findings=14, dropout=0.2, l2=1e-3)
    assert (start.dropout, start.head_weight_decay, start.findings) == (0.2, 1e-3, 14)
    model = start.build(seed=3)
    side = 75 if topology.name == "inception_v3" else 32
    assert model.eval()(images(side)).shape == (2, 14)
    weight, bias = (model.get_parameter(name) for name in head_names(start.architecture))
    assert weight.shape == (14, topology.features)
    bound = math.sqrt(6 / (14 + topology.features))  # glorot_uniform
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not bias.any()
    freeze_layers(model, start.architecture, "backbone")
    set_train_mode(model)
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    assert learning == list(head_names(start.architecture))
    wants = topology.architecture
    assert (start.architecture.mean, start.architecture.std) == (wants.mean, wants.std)
    assert start.architecture.image_size_px == wants.image_size_px


def test_a_name_of_2019_gives_the_same_start_as_the_topology(topology):
    loaded = blueprint(topology.name)
    old, new = transfer(loaded, cut=topology.cut_of_2019), transfer(loaded)
    assert old.tensors.keys() == new.tensors.keys()
    assert old.architecture.recipe.features == new.architecture.recipe.features


def test_the_network_is_built_again_from_json_and_computes_the_same():
    start = transfer(filled(blueprint("resnet18")), findings=5)
    model = start.build().eval()
    data = json.loads(json.dumps(start.architecture.recipe.to_json()))
    recipe = recipe_of(data)
    assert recipe == start.architecture.recipe
    from hilum.models import create_model

    again = create_model(architecture_of(recipe), 5, dropout=0.5)
    again.load_state_dict(model.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(again.eval()(images()), model(images()))


def test_the_head_reads_the_features_of_the_original_network():
    loaded = filled(blueprint("resnet18"))
    start = transfer(loaded, findings=3, cut="layer3")
    model = start.build().eval()
    with torch.no_grad():
        features = cut(loaded, "layer3").network(images()).mean((2, 3))
        weight, bias = (model.get_parameter(name) for name in head_names(start.architecture))
        torch.testing.assert_close(model(images()), features @ weight.T + bias)


def test_the_start_does_not_follow_what_is_done_to_the_original_later():
    loaded = filled(blueprint("resnet18"))
    freeze(loaded, up_to="layer1")
    for source in (loaded, cut(loaded, "layer2")):
        start = transfer(source)
        before = {name: tensor.clone() for name, tensor in start.tensors.items()}
        with torch.no_grad():
            for parameter in source.network.parameters():
                parameter.add_(1.0)
        assert all(torch.equal(start.tensors[name], before[name]) for name in before)
        frozen = {n for n, p in start.build().named_parameters() if not p.requires_grad}
        assert frozen == set(start.frozen)
        assert {name.split(".")[1] for name in frozen} == {"conv1", "bn1", "layer1"}


def test_tensors_that_do_not_fit_are_no_start():
    start = transfer(blueprint("resnet18"))
    tensors = dict(start.tensors)
    tensors["trunk.conv9.weight"] = tensors.pop("trunk.conv1.weight")
    with pytest.raises(InvalidValueError, match=r"conv9\.weight.*conv1\.weight"):
        replace(start, tensors=tensors).build()


def test_a_random_start_is_not_a_start_from_zeros():
    start = transfer(blueprint("resnet18"))
    model = start.architecture.build()
    assert model.get_submodule("trunk.conv1").weight.std() > 0.01
    assert model.get_submodule("trunk.bn1").weight.eq(1).all()
    assert start.architecture.recipe.build().get_submodule("trunk.conv1").weight.eq(0).all()


def file_network(*tail, channels="BGR", **pixels):
    """As a file gives it: two layers, then what is asked for."""
    options = {"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding": 1}
    named = (
        Node(name="conv1", layer="Conv2d", options=options, inputs=("data",)),
        Node(name="pool5", layer="GlobalAveragePool", inputs=("conv1",)),
        *tail,
    )
    spec = NetworkSpec(inputs=("data",), nodes=named, outputs=(named[-1].name,))
    recipe = GraphRecipe(spec)
    return LoadedModel(
        network=recipe.build().eval(),
        recipe=recipe,
        report=WeightsReport(source="a.caffemodel", kind="file"),
        pixels=PixelContract(channels=channels, **pixels),
    )


FC = Node(
    name="fc6", layer="Linear", options={"in_features": 4, "out_features": 9}, inputs=("pool5",)
)
PROB = Node(name="prob", layer="Softmax", options={"dim": 1}, inputs=("fc6",))


def test_a_network_from_a_file_loses_its_own_classifier_and_keeps_what_it_wants_to_see():
    pixels = {"mean": (0.4, 0.45, 0.48), "std": (1 / 255,) * 3, "size_px": (40, 40)}
    start = transfer(file_network(FC, PROB, **pixels), findings=2)
    assert start.architecture.recipe.features == 4
    assert list(start.tensors) == ["trunk.conv1.weight", "trunk.conv1.bias"]
    assert start.architecture.mean == pixels["mean"]
    assert start.architecture.std == pixels["std"]
    assert start.architecture.image_size_px == 40
    assert start.report.source == "a.caffemodel"
    assert start.architecture.name == "a.caffemodel at pool5"
    model = start.build()
    assert model(images(8)).shape == (2, 2)
    assert use_grey_stem(model, (1.0,) * 3, (0.0,) * 3)


def test_where_a_network_was_cut_its_last_linear_layer_is_a_feature():
    start = transfer(cut(file_network(FC, PROB), "fc6"), findings=2)
    assert start.architecture.recipe.features == 9


def test_a_network_without_a_linear_end_needs_a_cut():
    with pytest.raises(InvalidValueError, match="cut must be given"):
        transfer(file_network())
    start = transfer(file_network(), findings=2, cut="conv1")
    assert start.build().eval()(images(8)).shape == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"findings": 0}, "findings must be at least 1"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"l2": -1.0}, "l2 must be"),
        ({"cut": "layer9"}, "Got 'layer9'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(InvalidValueError, match=message):
        transfer(blueprint("resnet18"), **arguments)


def test_a_cut_through_tokens_is_no_feature():
    with pytest.raises(InvalidValueError, match=r"\(N, features, H, W\)"):
        transfer(blueprint("torchvision:vit_b_16"), cut="encoder.ln")


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "transfer", "of": {"kind": "library", "name": "resnet18"}, "features": 10**12},
        {"kind": "transfer", "of": 3, "features": 4, "findings": 2},
        {
            "kind": "transfer",
            "of": {"kind": "library", "name": "x"},
            "features": "a",
            "findings": 2,
        },
        {"kind": "cut", "of": {"kind": "library", "name": "resnet18"}},
        {"kind": ["cut"]},
    ],
)
def test_a_damaged_recipe_is_refused(data):
    with pytest.raises(InvalidValueError):
        recipe_of({**data, "findings": data.get("findings", 10**9)})


def test_a_head_of_absurd_size_is_refused_before_memory_is_taken():
    of = blueprint("resnet18").recipe
    with pytest.raises(InvalidValueError, match="parameters must be at most"):
        TransferRecipe(of=of, features=10**9, findings=10**9)


def test_the_table_has_every_topology_of_the_paper_under_its_own_normalisation():
    paper = {"resnet50", "densenet121", "densenet161", "inception_v1", "inception_v3", "vgg16"}
    assert paper < set(TOPOLOGIES)
    assert set(TOPOLOGIES) <= set(ARCHITECTURES)
    for topology in TOPOLOGIES.values():
        wants = topology.architecture
        half = topology.name.startswith("inception")
        assert wants.std == ((0.5,) * 3 if half else (0.229, 0.224, 0.225))


def test_dropout_lies_before_the_head_and_nowhere_else():
    model = transfer(blueprint("inception_v1"), dropout=0.3).build()
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout) and m.p > 0] == [0.3]
