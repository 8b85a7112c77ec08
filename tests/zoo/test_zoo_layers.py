"""Keras-style layers become the networks that PyTorch would make of them."""

import pytest
import torch
from torch import nn

from hilum import zoo
from hilum.errors import InvalidValueError
from hilum.models.graph import GraphNetwork
from hilum.models.recipes import GraphRecipe, LoadedModel, PixelContract
from hilum.models.weights import WeightsReport
from hilum.zoo.keras import NetLayer
from hilum.zoo.keras_models import _spec, _trunk


def network_of(model: zoo.Model) -> GraphNetwork:
    """What comes before the head."""
    trunk, _ = _trunk(model.input, model.ending.features)
    return trunk.network


def headed(image, features, **head) -> zoo.Model:
    return zoo.Model(image, zoo.Dense(2, activation="sigmoid", **head)(features))


def small_net() -> LoadedModel:
    """A network of named nodes that ends in two maps of 3 x 2 pixels."""
    image = zoo.Input((3, 6, 4), name="data")
    value = zoo.Convolution2D(5, 3, 3, border_mode="same", name="conv1")(image)
    value = zoo.MaxPooling2D(name="pool1")(value)
    spec, _ = _spec((image,), value)
    network = GraphNetwork(spec).eval()
    pixels = PixelContract(channels="BGR", size_px=(6, 4))
    report = WeightsReport(source="small.file", kind="file")
    return LoadedModel(network=network, recipe=GraphRecipe(spec), report=report, pixels=pixels)


def test_a_sequence_of_layers_computes_what_pytorch_computes():
    model = zoo.Sequential(
        [
            zoo.Convolution2D(
                4, 3, 5, activation="relu", subsample=(2, 1), input_shape=(1, 11, 9), name="conv"
            ),
            zoo.BatchNormalization(name="norm"),
            zoo.ZeroPadding2D((1, 2)),
            zoo.MaxPooling2D((2, 3)),
            zoo.AveragePooling2D((2, 1), strides=(1, 1)),
            zoo.Activation("tanh"),
            zoo.Flatten(),
            zoo.Dense(6, activation="elu", name="hidden"),
            zoo.Dropout(0.25),
            zoo.Dense(2, activation="sigmoid"),
        ]
    ).model()
    ours = network_of(model)
    theirs = nn.Sequential(
        nn.Conv2d(1, 4, (3, 5), stride=(2, 1)),
        nn.ReLU(),
        nn.BatchNorm2d(4, eps=1e-3),
        nn.ZeroPad2d((2, 2, 1, 1)),
        nn.MaxPool2d((2, 3)),
        nn.AvgPool2d((2, 1), stride=(1, 1)),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(24, 6),
        nn.ELU(),
    ).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.randn(2, 1, 11, 9, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ours(images), theirs(images), atol=1e-6)
    assert model.ending.dropout == 0.25
    assert model.outputs == 2


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (9, 8)])
@pytest.mark.parametrize("step", [(1, 1), (2, 3)])
def test_shapes_are_known_before_a_network_is_built(size, step):
    image = zoo.Input((2, *size))
    for layer in (
        zoo.Convolution2D(3, 3, 2, subsample=step),
        zoo.Convolution2D(3, 4, 3, border_mode="same", subsample=step),
        zoo.MaxPooling2D((2, 3), step, border_mode="same"),
        zoo.AveragePooling2D((3, 2), step),
        zoo.ZeroPadding2D((2, 1)),
        zoo.GlobalAveragePooling2D(),
        zoo.GlobalMaxPooling2D(),
        zoo.Reshape((4, -1)) if size != (7, 5) else zoo.Flatten(),
        zoo.BatchNormalization(),
    ):
        value = layer(image)
        spec, _ = _spec((image,), value)
        result = GraphNetwork(spec).eval()(torch.zeros(1, 2, *size))
        assert tuple(result.shape[1:]) == value.shape, layer


def test_same_padding_puts_the_odd_pixel_at_the_end():
    image = zoo.Input((1, 4, 4))
    spec, _ = _spec((image,), zoo.Convolution2D(1, 2, 2, border_mode="same", name="c")(image))
    network = GraphNetwork(spec)
    nn.init.ones_(network.c.weight)
    nn.init.zeros_(network.c.bias)
    result = network(torch.ones(1, 1, 4, 4))[0, 0]
    assert result[0].tolist() == [4, 4, 4, 2]
    assert result[3].tolist() == [2, 2, 2, 1]


def test_branches_are_added_multiplied_and_put_side_by_side():
    image = zoo.Input((2, 3, 3))
    one, two = zoo.Activation("relu")(image), zoo.Activation("tanh")(image)
    pixels = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    for mode, expected in (
        ("sum", pixels.relu() + pixels.tanh()),
        ("mul", pixels.relu() * pixels.tanh()),
        ("concat", torch.cat([pixels.relu(), pixels.tanh()], 1)),
    ):
        joined = zoo.merge([one, two], mode=mode, concat_axis=1)
        spec, _ = _spec((image,), joined)
        assert torch.equal(GraphNetwork(spec)(pixels), expected)
        assert joined.shape == tuple(expected.shape[1:])


def test_a_loaded_network_is_taken_as_it_is_where_its_values_are_averaged():
    loaded = small_net()
    image = zoo.Input((3, 6, 4))
    features = zoo.GlobalAveragePooling2D(dim_ordering="th")(NetLayer(loaded)(image))
    model = headed(image, zoo.Dropout(0.2)(features))
    trunk, cut = _trunk(image, model.ending.features)
    assert trunk.network is loaded.network
    assert cut == "pool1"
    assert model.pixels == loaded.pixels
    assert features.shape == (5,)


def test_flattening_more_than_a_pixel_is_not_averaging():
    loaded = small_net()
    image = zoo.Input((3, 6, 4))
    model = headed(image, zoo.Flatten()(NetLayer(loaded)(image)))
    trunk, cut = _trunk(image, model.ending.features)
    pixels = torch.randn(2, 3, 6, 4, generator=torch.Generator().manual_seed(2))
    assert torch.equal(trunk.network(pixels), loaded.network(pixels).flatten(1))
    assert cut == "flatten_1"
    assert {"conv1", "pool1"} <= set(trunk.recipe.spec.names()), "nodes keep their names"


def test_what_was_frozen_in_a_loaded_network_stays_frozen_among_new_layers():
    loaded = small_net()
    loaded.network.conv1.requires_grad_(False)
    image = zoo.Input((3, 6, 4))
    value = zoo.Dense(4, name="hidden")(zoo.Flatten()(NetLayer(loaded)(image)))
    network = network_of(headed(image, value))
    learns = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    assert learns == {
        "conv1.weight": False,
        "conv1.bias": False,
        "hidden.weight": True,
        "hidden.bias": True,
    }


def test_new_layers_start_xavier_uniform_and_the_same_each_time():
    image = zoo.Input((1, 8, 8))
    model = headed(image, zoo.Dense(200, name="hidden")(zoo.Flatten()(image)))
    state = torch.random.get_rng_state()
    first, second = network_of(model), network_of(model)
    assert torch.equal(first.hidden.weight, second.hidden.weight)
    assert not first.hidden.bias.any()
    bound = (6 / (64 + 200)) ** 0.5
    assert float(first.hidden.weight.detach().abs().max()) == pytest.approx(bound, rel=1e-3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_regularizers_are_weight_decay_of_their_layers():
    image = zoo.Input((1, 4, 4))
    hidden = zoo.Dense(3, W_regularizer=zoo.L2Regularizer(0.3), name="hidden")(zoo.Flatten()(image))
    model = headed(image, hidden, W_regularizer=zoo.L2Regularizer(0.1))
    assert model.head_decay == (0.1, 0.0)
    (rule,) = model.layer_rules
    assert (rule.pattern, rule.weight_decay) == ("*hidden.weight", 0.3)


def test_the_end_of_a_network_is_dropout_and_a_dense_layer():
    image = zoo.Input((3,))
    value = zoo.Dropout(0.5)(zoo.Dropout(0.2)(zoo.Dense(4)(image)))
    logits = zoo.Model(image, zoo.Dense(3)(value)).ending
    assert (logits.activation, logits.dropout) == ("", 0.6)
    apart = zoo.Model(image, zoo.Activation("softmax")(zoo.Dense(3)(value))).ending
    assert apart.activation == "softmax"


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda image: zoo.Model(image, zoo.Flatten()(image)), "must end in Dense"),
        (lambda image: zoo.Model(image, zoo.Dense(3)(image)), "features"),
        (
            lambda image: zoo.Model(image, zoo.Dense(3, activation="relu")(zoo.Flatten()(image))),
            "activation",
        ),
        (lambda image: zoo.Dense(3, init="normal"), "init"),
        (lambda image: zoo.Activation("cubic")(image).layer.parts([image.shape]), "activation"),
        (lambda image: zoo.GlobalAveragePooling2D(dim_ordering="tf")(image), "th"),
        (lambda image: zoo.MaxPooling2D((9, 9))(image), "window"),
        (lambda image: zoo.Reshape((7, 7))(image), "target_shape"),
        (lambda image: zoo.merge([image]), "two or more"),
        (
            lambda image: zoo.Model([image, image], zoo.Dense(1)(zoo.Flatten()(image))).start(),
            "one image",
        ),
        (
            lambda image: zoo.Model(image, [zoo.Dense(1)(zoo.Flatten()(image))] * 2),
            "output must be one. Got 2.*labelCols",
        ),
        (lambda image: zoo.Sequential([zoo.Dense(3)]).model(), "input_shape"),
    ],
)
def test_networks_that_cannot_be_are_refused_with_a_reason(build, why):
    with pytest.raises(InvalidValueError, match=why):
        build(zoo.Input((3, 4, 4)))


def test_a_summary_lists_layers_and_shapes():
    image = zoo.Input((3, 4, 4), name="image")
    lines = headed(image, zoo.Flatten()(image)).summary().splitlines()
    assert [line.split()[0] for line in lines] == ["image", "flatten_1", "dense_1"]
    assert lines[1].endswith("(48,)")
