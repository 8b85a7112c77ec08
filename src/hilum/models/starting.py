"""From any model to what a run starts from: a design, start weights, what the network wants to see.

A model from a file ends in a layer for somebody else's classes; here it is found, so that a new
head can take its place. What a file does not say about its pixels is filled in, and said.
"""

import logging
from dataclasses import replace
from pathlib import Path

from torch import fx, nn

from hilum.errors import InvalidValueError, require
from hilum.models.architectures import Architecture, architecture
from hilum.models.designs import builder
from hilum.models.factories import FactoryRecipe
from hilum.models.initialisation import random_parameters_zero
from hilum.models.recipes import LibraryRecipe, LoadedModel, PixelContract, TracedRecipe
from hilum.models.splitting import trace
from hilum.models.traced import TracedNetwork, program_of, trace_instance
from hilum.models.transfer import build_classifier, head_names, new_classifier
from hilum.models.transfer_start import TransferStart
from hilum.models.weights import WeightsReport

__all__ = [
    "build_start",
    "design_of_factory",
    "find_head",
    "input_channels",
    "start_of",
    "start_of_instance",
    "wanted_pixels",
    "whole_design",
    "whole_start",
    "with_new_head",
]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # R, G, B
_GREY_MEAN, _GREY_STD = (0.449,), (0.226,)  # their means
_RGB = 3
_SIDE_PX = 224
DROPOUT, HEAD_WEIGHT_DECAY = 0.2, 0.01  # those an estimator has by default
_COUNTER = ".num_batches_tracked"  # absent from old files, and nobody reads it

logger = logging.getLogger(__name__)


def start_of(loaded: LoadedModel) -> TransferStart:
    """Take the head off a loaded model; the model stays as it was.

    Raises:
        InvalidValueError: it does not end in a linear layer, or does not take grey or RGB images.
    """
    network = loaded.network
    if isinstance(loaded.recipe, LibraryRecipe):
        design = architecture(loaded.recipe.name)
    else:
        mean, std = _normalisation(_channels_of(network), loaded.pixels)
        design = Architecture(
            name=Path(loaded.report.source).name or type(network).__name__,
            build=builder(loaded.recipe),
            head=find_head(network),
            mean=mean,
            std=std,
            image_size_px=(loaded.pixels.size_px or (_SIDE_PX,))[0],
            recipe=loaded.recipe,
        )
    head = network.get_submodule(design.head)
    assert isinstance(head, nn.Linear)
    tensors = network.state_dict()
    return TransferStart(
        architecture=design,
        findings=head.out_features,
        # A copy: whoever goes on with the model must not change what training starts from.
        tensors={n: t.cpu().clone() for n, t in tensors.items() if not _within(n, design.head)},
        report=loaded.report,
        pixels=loaded.pixels,
        dropout=DROPOUT,
        head_weight_decay=HEAD_WEIGHT_DECAY,
        frozen=tuple(
            name
            for name, parameter in network.named_parameters()
            if not parameter.requires_grad and not _within(name, design.head)
        ),
    )


def _within(name: str, layer: str) -> bool:
    return name.startswith(f"{layer}.")


def design_of_factory(recipe: FactoryRecipe) -> Architecture:
    """The design of what a user's function makes: it is called once, to see how it ends.

    Raises:
        InvalidValueError: the network does not end in a linear layer, or does not take grey or RGB
            images.
        MissingDependencyError: the function cannot be imported.
    """
    network = recipe.build()
    mean, std = _normalisation(_channels_of(network), PixelContract())
    return Architecture(
        name=recipe.callable,
        build=recipe.build_random,
        head=find_head(network),
        mean=mean,
        std=std,
        recipe=recipe,
    )


def start_of_instance(network: nn.Module) -> TransferStart:
    """Take a module with its weights, its last layer included; it stays as it was.

    Nobody can tell where the weights come from, so the start counts as random.

    Raises:
        InvalidValueError: it cannot be built again without its code.
    """
    traced = trace_instance(network)
    report = WeightsReport(source="", kind="random", note="those of the module that was given")
    recipe = TracedRecipe(program_of(traced))
    loaded = LoadedModel(network=traced, recipe=recipe, report=report, pixels=PixelContract())
    return whole_start(loaded, recipe.program.name)


def whole_start(loaded: LoadedModel, name: str) -> TransferStart:
    """Take a loaded model with its last layer, which `with_new_head` takes off.

    Args:
        name: what reports call it.
    """
    network, pixels = loaded.network, loaded.pixels
    design = Architecture(name=name, build=builder(loaded.recipe), head="", recipe=loaded.recipe)
    channels = _channels_of(network)
    if channels in (1, _RGB):
        mean, std = _normalisation(channels, pixels)
        side = (pixels.size_px or (design.image_size_px,))[0]
        design = replace(design, mean=mean, std=std, image_size_px=side)
    return TransferStart(
        architecture=design,
        findings=1,
        tensors={name: tensor.cpu().clone() for name, tensor in network.state_dict().items()},
        report=loaded.report,
        pixels=pixels,
        dropout=DROPOUT,
        head_weight_decay=HEAD_WEIGHT_DECAY,
        frozen=tuple(n for n, p in network.named_parameters() if not p.requires_grad),
    )


def with_new_head(start: TransferStart) -> TransferStart:
    """The start without the last layer; the same one where that is off already.

    Raises:
        InvalidValueError: the network does not end in a linear layer, or does not take grey or RGB
            images.
    """
    design = start.architecture
    if design.head:
        return start
    assert design.recipe is not None, "only a recipe builds a whole network"
    network = design.recipe.build()
    _normalisation(_channels_of(network), start.pixels)  # which says what is wrong
    head = find_head(network)
    last = network.get_submodule(head)
    assert isinstance(last, nn.Linear)
    return replace(
        start,
        architecture=replace(design, head=head),
        findings=last.out_features,
        tensors={name: t for name, t in start.tensors.items() if not _within(name, head)},
        frozen=tuple(name for name in start.frozen if not _within(name, head)),
    )


def whole_design(model: FactoryRecipe | str) -> Architecture:
    """The design of a network that is trained as it is, its own last layer included.

    Raises:
        InvalidValueError: an unknown name.
    """
    if isinstance(model, str):
        return replace(architecture(model), head="", recipe=LibraryRecipe(model))
    return Architecture(name=model.callable, build=model.build_random, head="", recipe=model)


def input_channels(design: Architecture) -> int:
    """Channels of the images a network takes, by its first convolution; 3 without one."""
    with random_parameters_zero():
        return _channels_of(design.build())


def wanted_pixels(start: TransferStart) -> PixelContract:
    """The pixels of a start with nothing left open: what its file says, else its design's."""
    pixels, design = start.pixels, start.architecture
    size = pixels.size_px or (design.image_size_px, design.image_size_px)
    mean, std = design.mean, design.std
    channels = len(mean)
    if design.recipe is not None:
        with random_parameters_zero():
            channels = _channels_of(design.build())
    if pixels.mean is not None or pixels.channels == "BGR" or len(mean) != channels:
        mean, std = _normalisation(channels, pixels)
    # Of a library's networks it is known, of the user's own nobody said that they had learnt.
    silent = design.recipe is None or isinstance(design.recipe, TracedRecipe)
    if pixels.mean is None and not silent:
        logger.warning(
            "%s does not say how its pixels are normalised: mean=%s std=%s are assumed",
            design.name,
            mean,
            std,
        )
    return replace(pixels, mean=mean, std=std, size_px=size)


def build_start(
    design: Architecture | str,
    start: TransferStart | None,
    num_outputs: int,
    *,
    weights: str | Path = "auto",
    dropout: float = 0.2,
    seed: int = 0,
) -> tuple[nn.Module, WeightsReport]:
    """As `build_classifier`, for any model.

    Args:
        start: brings the weights, unless `weights` says "random" or names a file; None for models
            that bring none.

    Raises:
        InvalidValueError: the weights are not those of the design, or are to be random where only
            the code of a given module could draw them.
    """
    made_here = not isinstance(design, str) and isinstance(design.recipe, FactoryRecipe)
    if weights == "random":
        _require_drawn(design)
    if start is None or weights != "auto":
        weights = "random" if made_here and weights == "auto" else weights
        return build_classifier(design, num_outputs, weights=weights, dropout=dropout, seed=seed)
    model = new_classifier(design, num_outputs, dropout=dropout, seed=seed)
    own = model.state_dict()
    head = head_names(design)
    absent = [n for n in own if n not in (*head, *start.tensors) and not n.endswith(_COUNTER)]
    wrong = [n for n, t in start.tensors.items() if n not in own or own[n].shape != t.shape]
    require(
        not absent and not wrong,
        "start weights",
        f"those of {start.architecture.name}",
        f"{len(absent)} missing ({', '.join(absent[:3])}), {len(wrong)} without a place "
        f"({', '.join(wrong[:3])})",
    )
    model.load_state_dict(dict(start.tensors), strict=False)
    return model, start.report


def _require_drawn(design: Architecture | str) -> None:
    """Refuse tensors that no layer starts, but the code of a module that was given."""
    recipe = None if isinstance(design, str) else design.recipe
    own = sorted(recipe.program.tensors) if isinstance(recipe, TracedRecipe) else []
    require(
        not own,
        "weights",
        f"'auto' for a module with tensors of its own ({', '.join(own)}), which nobody else starts",
        "random",
        hint="give the module with random weights, or a marked function that makes it",
    )


def find_head(network: nn.Module) -> str:
    """Return the dotted name of the linear layer whose output is that of the network.

    Raises:
        InvalidValueError: the network ends in something else.
    """
    if isinstance(network, TracedNetwork):
        return _require_head(network, program_of(network).last_layer)
    try:
        graph = trace(network)
    except InvalidValueError:  # its code cannot be followed, so its last layer has to tell
        leaves = [name for name, m in network.named_modules() if not any(m.children())]
        return _require_head(network, leaves[-1])
    result = next(node for node in graph.nodes if node.op == "output").args[0]
    require(
        isinstance(result, fx.Node), "network", "one with one output", _described(network, result)
    )
    assert isinstance(result, fx.Node)
    return _require_head(network, str(result.target) if result.op == "call_module" else "")


def _require_head(network: nn.Module, name: str) -> str:
    last = network.get_submodule(name) if name else None
    require(
        isinstance(last, nn.Linear),
        "the last layer of the network",
        "linear, so that a new head can take its place",
        f"{name} ({type(last).__name__})" if name else type(network).__name__,
        hint="hilum.models.surgery.transfer cuts at a node and puts a head there: "
        "NNEstimator(model=transfer(loaded, ...))",
    )
    return name


def _described(network: nn.Module, result: object) -> str:
    many = len(result) if isinstance(result, tuple | list) else result
    return f"{type(network).__name__} with {many} outputs"


def _channels_of(network: nn.Module) -> int:
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    return _RGB if first is None else first.in_channels


def _normalisation(
    channels: int, pixels: PixelContract
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, in the order of the network's own channels."""
    require(channels in (1, _RGB), "network", "one for images of 1 or 3 channels", channels)
    if pixels.mean is not None:
        std = (1.0,) if pixels.std is None else pixels.std
        return _spread("mean", pixels.mean, channels), _spread("deviation", std, channels)
    if channels == 1:
        return _GREY_MEAN, _GREY_STD
    turned = -1 if pixels.channels == "BGR" else 1
    return _IMAGENET_MEAN[::turned], _IMAGENET_STD[::turned]


def _spread(what: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One number for all channels, or one for each."""
    given = len(values)
    require(given in (1, channels), f"{what} of the pixels", f"of {channels} channels", given)
    return values if given == channels else values * channels
