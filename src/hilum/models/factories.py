"""Networks that a function of the user's makes: found by name, never pickled.

A function that a bundle or a run directory names is called with the options that stand there. So
not every function may be named: only one whose author marked it with `network_factory`, as
otherwise a crafted bundle could have `os.system` called (decision 0039).
"""

import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from torch import nn

from hilum.errors import InvalidValueError, MissingDependencyError, require
from hilum.models.initialisation import random_parameters_zero

__all__ = ["FactoryRecipe", "factory", "is_factory_name", "network_factory"]

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])

_MARK = "__hilum_network_factory__"
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_LIBRARIES = ("timm", "torchvision")  # whose names look the same, "timm:resnet18"
_WAY_OUT = (
    "put a function that returns the network into a module of yours, mark it with "
    "@hilum.models.network_factory and give it, or its name package.module:function"
)


def network_factory(function: Factory) -> Factory:
    """Mark a function of a module as one that bundles and runs may call by its name.

    It takes plain values (numbers, texts, lists) and returns a network that maps (N, C, H, W) to
    (N, anything) and ends in a linear layer, which gives way to the new head. The same options must
    give tensors of the same names and shapes.

        @network_factory
        def small_net(width: int = 8) -> nn.Module: ...
    """
    setattr(function, _MARK, True)
    return function


def is_factory_name(text: str) -> bool:
    """Whether a text has the form package.module:function, and is no network of a library."""
    return bool(_NAME.fullmatch(text)) and text.partition(":")[0] not in _LIBRARIES


def factory(function: Callable[..., nn.Module] | str, **options: Any) -> "FactoryRecipe":
    """Return the recipe of what a marked function makes with these options.

    Args:
        function: the function, or its name "package.module:function".

    Raises:
        InvalidValueError: nobody else could find the function, or it is not marked.
        MissingDependencyError: its module cannot be imported here.
    """
    if isinstance(function, str):
        recipe = FactoryRecipe(function, options)
        recipe.function()
        return recipe
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    recipe = FactoryRecipe(f"{module}:{name}", options)
    found = recipe.function()
    require(found is function, "model", f"what {recipe.callable} is", function, hint=_WAY_OUT)
    return recipe


@dataclass(frozen=True, slots=True)
class FactoryRecipe:
    """A network that a function makes.

    Attributes:
        callable: "package.module:function", importable on driver and executors.
        options: its keyword arguments: plain JSON values.

    Raises:
        InvalidValueError: not such a name, or options that JSON cannot hold.
    """

    callable: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fits = isinstance(self.callable, str) and bool(_NAME.fullmatch(self.callable))
        by_name = fits and not self.callable.startswith("__main__:")
        require(by_name, "model", "a function that others can import", self.callable, hint=_WAY_OUT)
        try:
            plain = json.loads(json.dumps(dict(self.options), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidValueError(
                f"options of {self.callable} must be plain values that JSON can hold. "
                f"Got {self.options!r}: {error}"
            ) from error
        object.__setattr__(self, "options", MappingProxyType(plain))

    def __reduce__(self) -> Any:
        return (FactoryRecipe, (self.callable, dict(self.options)))

    def function(self) -> Callable[..., nn.Module]:
        """Import the function.

        Raises:
            MissingDependencyError: it is not on the Python path.
            InvalidValueError: it is not marked with `network_factory`.
        """
        module_name, _, name = self.callable.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), name)
        except (ImportError, AttributeError) as error:
            raise MissingDependencyError(
                f"the network is made by {self.callable}, which cannot be imported: {error}. "
                "Hint: its module must be on the Python path (PYTHONPATH), and executors need it, "
                "too: spark-submit --py-files my_networks.py, or "
                "spark.addArtifacts('my_networks.py', pyfile=True)."
            ) from error
        require(
            callable(found) and getattr(found, _MARK, False) is True,
            "model",
            "a function marked with @hilum.models.network_factory",
            self.callable,
            hint=_WAY_OUT,
        )
        made: Callable[..., nn.Module] = found
        return made

    def build_random(self) -> nn.Module:
        """Return the network as the function makes it.

        Raises:
            InvalidValueError: the function returns something else.
        """
        network = self.function()(**self.options)
        require(
            isinstance(network, nn.Module),
            f"what {self.callable} returns",
            "a torch.nn.Module",
            type(network).__name__,
        )
        return network

    def build(self) -> nn.Module:
        """Return the network, its parameters zero."""
        with random_parameters_zero():
            return self.build_random()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": "factory", "callable": self.callable, "options": dict(self.options)}

    def files(self) -> Mapping[str, Path]:
        """None."""
        return {}
