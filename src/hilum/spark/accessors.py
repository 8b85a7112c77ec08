"""getX and setX for every parameter of a stage, as Spark's own stages have them.

Made from the parameters, so that none is forgotten: what a parameter means, takes and refuses is
said once, where it is declared.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from pyspark.ml.param import Param, Params

from hilum.errors import require

__all__ = ["with_accessors"]

Stage = TypeVar("Stage", bound=type[Params])


def with_accessors(stage: Stage) -> Stage:
    """Add `getX` and `setX` for every parameter of a class that has none; `setX` returns the stage.

    Args:
        stage: a class of parameters, or a stage; its subclasses inherit what it gets.
    """
    for name in dir(stage):
        param = getattr(stage, name, None)
        if isinstance(param, Param):
            word = name[0].upper() + name[1:]
            for made in (_getter(f"get{word}", param), _setter(f"set{word}", param)):
                if not hasattr(stage, made.__name__):
                    made.__qualname__ = f"{stage.__name__}.{made.__name__}"
                    made.__module__ = stage.__module__
                    setattr(stage, made.__name__, made)
    return stage


def _getter(method: str, param: Param[Any]) -> Callable[..., Any]:
    def get(self: Params) -> Any:
        return self.getOrDefault(param.name)

    get.__name__ = method
    get.__doc__ = f"Value of {param.name}: {param.doc}."
    return get


def _setter(method: str, param: Param[Any]) -> Callable[..., Any]:
    def set_value(self: Params, value: Any) -> Params:
        name = param.name
        require(value is not None, name, "a value", value, hint=f"clear(stage.{name}) unsets it")
        self._set(**{name: value})
        return self

    set_value.__name__ = method
    set_value.__doc__ = f"Set {param.name}: {param.doc}."
    return set_value
