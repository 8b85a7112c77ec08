"""The modules of 2019 by their old paths, made of the names in `hilum.zoo`.

A script changes its import lines by putting `hilum.` before `zoo.` and `hilum.zoo.` before
`bigdl.`; nothing else:

    zoo.pipeline.nnframes      hilum.zoo.pipeline.nnframes
    bigdl.optim.optimizer      hilum.zoo.bigdl.optim.optimizer

They are made at import from the table below, instead of fifteen files of one line.
"""

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from hilum.zoo import (
    colour_ops,
    context,
    conversions,
    criteria,
    image_ops,
    image_reader,
    keras,
    keras_images,
    keras_models,
    net,
    nnframes,
    nnmodels,
    optim,
    preprocessing,
    regularizers,
    schedules,
    summaries,
    triggers,
    volume_ops,
)

__all__ = ["PATHS", "install"]


def _names(*modules: ModuleType, but: tuple[str, ...] = ()) -> dict[str, Any]:
    listed = {name: getattr(module, name) for module in modules for name in module.__all__}
    return {name: value for name, value in listed.items() if name not in but}


def _public(**given: Any) -> dict[str, Any]:
    return given


_CONTEXT = _names(context) | _public(os=os)  # scripts got `os` by a star from here
_CONVERSIONS = _names(conversions)
_CHAIN = _public(ChainedPreprocessing=preprocessing.ChainedPreprocessing)
_IMAGES = _names(image_ops, colour_ops, but=("Image", "Operation")) | {
    name: value
    for name, value in _CONVERSIONS.items()
    if name.startswith(("Image", "Row", "PerImage"))
}
_COMMON = _CHAIN | {name: value for name, value in _CONVERSIONS.items() if name not in _IMAGES}
_FRAMES = _names(image_reader) | {
    name: value
    for name, value in _names(nnframes, nnmodels, but=("sized",)).items()
    if name.startswith("NN")
}
_LAYERS = _names(
    keras,
    keras_images,
    but=(
        "Layer",
        "NetLayer",
        "Parts",
        "Size",
        "Variable",
        "activation_parts",
        "connect",
        "require_glorot",
    ),
)
_MODELS = _public(Model=keras_models.Model, Sequential=keras_models.Sequential)
_REGULARIZERS = _names(regularizers, but=("Regularizer", "weight_decay_of"))
_OBJECTIVES = _public(
    BinaryCrossEntropy=criteria.BinaryCrossEntropy,
    CategoricalCrossEntropy=criteria.CategoricalCrossEntropy,
    MeanAbsoluteError=criteria.MeanAbsoluteError,
    MeanSquaredError=criteria.MeanSquaredError,
    SparseCategoricalCrossEntropy=criteria.SparseCategoricalCrossEntropy,
)
_CRITERIA = _public(
    AbsCriterion=criteria.AbsCriterion,
    BCECriterion=criteria.BCECriterion,
    BCECriterionWithLogits=criteria.BCEWithLogitsCriterion,
    ClassNLLCriterion=criteria.ClassNLLCriterion,
    CrossEntropyCriterion=criteria.CrossEntropyCriterion,
    MSECriterion=criteria.MSECriterion,
    SmoothL1Criterion=criteria.SmoothL1Criterion,
)
_SCHEDULES = _names(
    schedules, but=("MultiStep2019", "modern_schedule", "watched_metric")
) | _public(MultiStep=schedules.MultiStep2019)
_TRIGGERS = _names(triggers, but=("ending_params", "every_of"))
_OPTIMIZER = (
    _SCHEDULES
    | _TRIGGERS
    | _names(summaries)
    | _REGULARIZERS
    | _public(
        SGD=optim.SGD,
        Adam=optim.AdamOfBigDL,
        Loss=criteria.Loss,
        Top1Accuracy=criteria.Top1Accuracy,
    )
)

PATHS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bigdl.nn.criterion": _CRITERIA,
        "bigdl.nn.layer": _public(Model=keras_models.Model, Sequential=keras_models.Sequential),
        "bigdl.optim.optimizer": _OPTIMIZER,
        "bigdl.util.common": _CONTEXT,
        "common.nncontext": _CONTEXT,
        "feature.common": _COMMON,
        "feature.image": _IMAGES | _CHAIN,
        "feature.image.imagePreprocessing": _IMAGES,
        "feature.image3d.transformation": _names(volume_ops),
        "models.image.imageclassification": {},
        "pipeline.api.keras.layers": _LAYERS,
        "pipeline.api.keras.metrics": _public(AUC=criteria.AUC),
        "pipeline.api.keras.models": _MODELS,
        "pipeline.api.keras.objectives": _OBJECTIVES,
        "pipeline.api.keras.optimizers": _public(
            Adam=optim.Adam, AdamWeightDecay=optim.AdamWeightDecay
        ),
        "pipeline.api.keras.regularizers": _REGULARIZERS,
        "pipeline.api.net": _public(Net=net.Net),
        "pipeline.nnframes": _FRAMES,
    }
)
"""What each module of 2019 holds, by its path without "zoo."."""


def install(package: str) -> None:
    """Make the modules below a package, so that import statements find them."""
    for path, names in PATHS.items():
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            name = f"{package}.{'.'.join(parts[:end])}"
            if name not in sys.modules:
                _add(name)
        module = sys.modules[f"{package}.{path}"]
        vars(module).update(names)
        vars(module)["__all__"] = sorted(names)


def _add(name: str) -> None:
    module = ModuleType(name, "Names of 2019; see docs/migration.md.")
    module.__path__ = []
    parent, _, last = name.rpartition(".")
    sys.modules[name] = module
    setattr(sys.modules[parent], last, module)
