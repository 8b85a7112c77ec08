"""The parameter `model`: a name, a model from anywhere, or a function that makes one.

Names stay text. What brings weights becomes a `TransferStart`, a function its `FactoryRecipe`: both
are values that can be saved, and neither is ever pickled.
"""

from typing import TypeAlias

from pyspark.ml.param import TypeConverters
from torch import nn

from hilum import storage
from hilum.errors import InvalidValueError
from hilum.models import Architecture, architecture
from hilum.models.designs import load_start, save_start
from hilum.models.factories import FactoryRecipe, factory, is_factory_name
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.starting import (
    design_of_factory,
    start_of,
    start_of_instance,
    wanted_pixels,
    whole_design,
    with_new_head,
)
from hilum.models.transfer_start import TransferStart
from hilum.spark.driver_networks import one_at_a_time

__all__ = [
    "ModelValue",
    "design_for_rows",
    "design_of",
    "load_model_value",
    "pixels_for",
    "save_model_value",
    "to_model",
]

ModelValue: TypeAlias = str | TransferStart | FactoryRecipe

_FACTORY = "factory.json"


@one_at_a_time
def to_model(value: object) -> ModelValue:
    """Check what was given as `model` and bring it into one of three forms.

    Raises:
        InvalidValueError: a module that cannot be built without its code; a function that cannot
            be found by name; a loaded model that does not end in a linear layer.
        MissingDependencyError: "package.module:function" cannot be imported here.
        TypeError: something else, as Spark ML wants it.
    """
    if isinstance(value, TransferStart | FactoryRecipe):
        return value
    if isinstance(value, LoadedModel):
        return start_of(value)
    if isinstance(value, nn.Module):
        return start_of_instance(value)
    if callable(value):
        return factory(value)
    text: str = TypeConverters.toString(value)
    return factory(text) if is_factory_name(text) else text


@one_at_a_time
def design_of(value: ModelValue) -> Architecture:
    """What is to be built.

    Raises:
        InvalidValueError: an unknown name, or a function whose network ends otherwise.
    """
    if isinstance(value, TransferStart):
        return with_new_head(value).architecture
    if isinstance(value, FactoryRecipe):
        return design_of_factory(value)
    return architecture(value)


@one_at_a_time
def design_for_rows(value: ModelValue, head: str) -> Architecture:
    """What is to be built for rows of any columns: the whole network, unless a new head is wanted.

    Raises:
        InvalidValueError: an unknown name, or a start that has no head of its own any more.
    """
    if head == "new":
        return design_of(value)
    if isinstance(value, TransferStart):
        if not value.architecture.head:
            return value.architecture
        raise InvalidValueError(
            "model must be a name, a module or a function where head is 'keep'. Got a loaded "
            "network, whose last layer gives way to a new one. Hint: head='new' with one image "
            "column, or its module, model=loaded.network."
        )
    return whole_design(value)


@one_at_a_time
def pixels_for(value: ModelValue) -> PixelContract:
    """What the network wants to see, nothing left open."""
    if isinstance(value, TransferStart):
        return wanted_pixels(with_new_head(value))
    design = design_of(value)
    side = design.image_size_px
    return PixelContract(mean=design.mean, std=design.std, size_px=(side, side))


def save_model_value(value: ModelValue, url: str) -> None:
    """Write what Spark's metadata cannot hold; nothing for a name."""
    if isinstance(value, TransferStart):
        save_start(value, url)
    elif isinstance(value, FactoryRecipe):
        storage.write_json(storage.join(url, _FACTORY), value.to_json())


def load_model_value(url: str) -> ModelValue | None:
    """Read what `save_model_value` wrote; None if nothing is there."""
    if not storage.exists(url):
        return None
    if storage.exists(storage.join(url, _FACTORY)):
        stored = storage.read_json(storage.join(url, _FACTORY))
        return factory(stored["callable"], **stored["options"])
    return load_start(url)
