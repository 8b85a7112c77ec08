"""The networks Hilum can train: what builds them, what they were trained to see, where they end.

Most come from torchvision, EfficientNet-Lite0 from timm because its ImageNet weights install
without a further download. The table names the ones this project tests; any other classification
network of the two libraries goes by "torchvision:NAME" or "timm:NAME". Both libraries are
imported on first use: torchvision alone costs seconds on a cold disk.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import nn

from hilum.errors import InvalidValueError, MissingDependencyError, require
from hilum.models import xrv
from hilum.models.initialisation import random_parameters_zero
from hilum.models.published import (
    EfficientNetLite0Package,
    HuggingFaceWeights,
    TorchvisionWeights,
    WeightsSource,
)

if TYPE_CHECKING:
    from hilum.models.recipes import Recipe

__all__ = ["ARCHITECTURES", "Architecture", "architecture"]

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)
_IMAGENET_CLASSES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A classification network, before anything is built.

    Attributes:
        name: what `architecture` finds it by; the name a bundle stores.
        build: makes the network with its ImageNet head, randomly initialised from the global
            generator, and a forward that returns one tensor (N, 1000) in training and evaluation.
        head: the dotted name of the last linear layer, which transfer learning replaces; "" where
            the network is trained as it is.
        published: where trained weights are; None if nowhere.
        mean: per channel, in the network's order (RGB for those listed here), of pixels scaled to
            0..1, that the published weights expect; one for networks of grey images.
        std: likewise.
        image_size_px: side of the square input the published weights were made for.
        recipe: how `build` can be repeated elsewhere where the name alone does not say it; None
            for those that `architecture` finds.
    """

    name: str
    build: Callable[[], nn.Module] = field(compare=False, repr=False)
    head: str
    published: WeightsSource | None = None
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    image_size_px: int = 224
    recipe: "Recipe | None" = field(default=None, compare=False, repr=False)


def architecture(name: Architecture | str) -> Architecture:
    """Look up an architecture by its name here, or as "torchvision:NAME" or "timm:NAME".

    An `Architecture` is returned as it is, so that functions can take either.

    Raises:
        InvalidValueError: the name is unknown; the message lists the known ones.
        MissingDependencyError: timm is needed and not installed.
    """
    if isinstance(name, Architecture):
        return name
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    library, _, name_there = name.partition(":")
    if library == "torchvision":
        return _of_torchvision(name_there)
    if library == "timm":
        return _of_timm(name_there)
    if library == "xrv":
        return _of_xrv(name_there)
    raise InvalidValueError(
        f"architecture must be one of {', '.join(ARCHITECTURES)}. Got {name!r}. "
        f"Hint: other networks go by torchvision:NAME, timm:NAME or xrv:densenet121."
    )


def _build_torchvision(name: str, **options: object) -> nn.Module:
    from torchvision.models import get_model

    model: nn.Module = get_model(name, weights=None, **options)
    return model


def _build_timm(name: str) -> nn.Module:
    model: nn.Module = _timm().create_model(name, pretrained=False)
    return model


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingDependencyError(
            "This architecture comes from timm, which is not installed. "
            "Hint: pip install hilum[timm]"
        ) from error
    return timm


# Both Inceptions: without the auxiliary classifiers, which return extra outputs in training;
# without their own dropout, which the new head brings; and with mean = std = 0.5, which is what
# their published weights see after torchvision's transform_input=True.
_INCEPTION = {"init_weights": True, "aux_logits": False, "transform_input": False, "dropout": 0.0}
_GOOGLENET = Architecture(
    name="googlenet",
    build=partial(_build_torchvision, "googlenet", **_INCEPTION),
    head="fc",
    published=TorchvisionWeights("GoogLeNet_Weights.IMAGENET1K_V1"),
    mean=_HALF,
    std=_HALF,
)

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "resnet18": Architecture(
            name="resnet18",
            build=partial(_build_torchvision, "resnet18"),
            head="fc",
            published=TorchvisionWeights("ResNet18_Weights.IMAGENET1K_V1"),
        ),
        "resnet50": Architecture(
            name="resnet50",
            build=partial(_build_torchvision, "resnet50"),
            head="fc",
            published=TorchvisionWeights("ResNet50_Weights.IMAGENET1K_V2"),
        ),
        "densenet121": Architecture(
            name="densenet121",
            build=partial(_build_torchvision, "densenet121"),
            head="classifier",
            published=TorchvisionWeights("DenseNet121_Weights.IMAGENET1K_V1"),
        ),
        "densenet161": Architecture(
            name="densenet161",
            build=partial(_build_torchvision, "densenet161"),
            head="classifier",
            published=TorchvisionWeights("DenseNet161_Weights.IMAGENET1K_V1"),
        ),
        "googlenet": _GOOGLENET,
        "inception_v1": _GOOGLENET,
        "inception_v3": Architecture(
            name="inception_v3",
            build=partial(_build_torchvision, "inception_v3", **_INCEPTION),
            head="fc",
            published=TorchvisionWeights("Inception_V3_Weights.IMAGENET1K_V1"),
            mean=_HALF,
            std=_HALF,
            image_size_px=299,
        ),
        "vgg16": Architecture(
            name="vgg16",
            build=partial(_build_torchvision, "vgg16"),
            head="classifier.6",
            published=TorchvisionWeights("VGG16_Weights.IMAGENET1K_V1"),
        ),
        "convnext_tiny": Architecture(
            name="convnext_tiny",
            build=partial(_build_torchvision, "convnext_tiny"),
            head="classifier.2",
            published=TorchvisionWeights("ConvNeXt_Tiny_Weights.IMAGENET1K_V1"),
        ),
        "efficientnet_lite0": Architecture(
            name="efficientnet_lite0",
            build=partial(_build_timm, "tf_efficientnet_lite0"),
            head="classifier",
            published=EfficientNetLite0Package(),
            mean=_HALF,
            std=_HALF,
        ),
    }
)


def _of_torchvision(name: str) -> Architecture:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    require(name in known, "torchvision:NAME", f"one of {', '.join(known)}", name)
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    weights = torchvision.models.get_model_weights(name).DEFAULT
    sees = weights.transforms()
    build = partial(_build_torchvision, name)
    return Architecture(
        name=f"torchvision:{name}",
        build=build,
        head=_last_linear(build, name),
        published=TorchvisionWeights(str(weights)),
        mean=tuple(sees.mean),
        std=tuple(sees.std),
        image_size_px=sees.crop_size[0],
    )


def _last_linear(build: Callable[[], nn.Module], name: str) -> str:
    with random_parameters_zero():
        layers: list[str] = [
            path
            for path, module in build().named_modules()
            if isinstance(module, nn.Linear) and module.out_features == _IMAGENET_CLASSES
        ]
    require(bool(layers), "torchvision:NAME", "a network that ends in a linear layer", name)
    return layers[-1]


def _of_timm(name: str) -> Architecture:
    timm = _timm()
    require(
        bool(name) and timm.is_model(name),
        "timm:NAME",
        "a model of timm",
        name,
        hint="timm.list_models() lists them",
    )
    sees = timm.get_pretrained_cfg(name)
    head = sees.classifier  # a tuple where a distilled network has two
    require(isinstance(head, str) and head != "", "timm:NAME", "a network with one head", name)
    return Architecture(
        name=f"timm:{name}",
        build=partial(_build_timm, name),
        head=head,
        published=_timm_weights(sees),
        mean=tuple(sees.mean),
        std=tuple(sees.std),
        image_size_px=sees.input_size[-1],
    )


def _of_xrv(name: str) -> Architecture:
    require(
        name == "densenet121",
        "xrv:NAME",
        "densenet121, with weights= a file of its tensors",
        name,
        hint="torchxrayvision publishes pickled modules, which run code when read; save the "
        "tensors once with hilum.models.xrv.three_channels (docs/loading-models.md)",
    )
    return Architecture(
        name="xrv:densenet121",
        build=partial(_build_torchvision, "densenet121", num_classes=xrv.FINDINGS),
        head="classifier",
        mean=xrv.MEAN,
        std=xrv.STD,
    )


def _timm_weights(sees: Any) -> WeightsSource | None:
    if not sees.hf_hub_id:
        return None
    return HuggingFaceWeights(sees.hf_hub_id, sees.hf_hub_filename or "model.safetensors")
