"""Values and the text that stands for them in a parameter or on a command line.

A stage's parameters are plain text and numbers, so that they are saved and copied as Spark does it;
`to_*` makes the text, from the value or from text that is checked, `*_of` reads it back.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pyspark.ml.param import Param, Params
from torch import nn

from hilum.errors import InvalidValueError
from hilum.inputs import TextEncoder, encoder_from_json
from hilum.optim import (
    TORCH_LOSSES,
    LayerRule,
    Loss,
    Objective,
    OutputLosses,
    Schedule,
    loss_of,
    loss_to_json,
    own_loss,
    rule_from_text,
    rule_to_text,
    schedule_to_json,
)
from hilum.preprocessing import Chain
from hilum.training import Every

__all__ = [
    "chain_of",
    "declare",
    "encoders_of",
    "every_of",
    "layer_rules_of",
    "shapes_of",
    "to_chain_text",
    "to_encoders_text",
    "to_every_text",
    "to_layer_rule_texts",
    "to_loss_text",
    "to_schedule_text",
    "to_shapes_text",
    "to_unfreeze_texts",
    "to_weights_text",
    "unfreeze_of",
    "weights_of",
]

BALANCED = "balanced"
_EVERY = re.compile(r"(?:(\d+(?:\.\d+)?)\s*)?(epoch|step|minute)s?")


def declare(name: str, meaning: str, converter: Any) -> Param[Any]:
    """Return a parameter for the body of a class of parameters; its errors name it."""

    def convert(value: Any) -> Any:
        try:
            return converter(value)
        except InvalidValueError as error:
            if name in str(error):
                raise
            raise InvalidValueError(f"{name}: {error}") from error

    convert.__name__ = converter.__name__
    return Param(Params._dummy(), name, meaning, typeConverter=convert)


def to_chain_text(value: Any) -> str:
    """Return a preprocessing chain as JSON text."""
    if isinstance(value, Chain):
        return json.dumps(value.to_json(), sort_keys=True)
    chain_of(value)
    return str(value)


def chain_of(text: Any) -> Chain:
    """Read a preprocessing chain."""
    try:
        return Chain.from_json(json.loads(text))
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"preprocessing must be a Chain or its JSON. Got {text!r}: {error}"
        ) from error


def to_shapes_text(value: Any) -> str:
    """Return shapes by column as JSON text."""
    if isinstance(value, Mapping):
        value = json.dumps({column: list(shape) for column, shape in value.items()})
    shapes_of(value)
    return str(value)


def shapes_of(text: str) -> dict[str, tuple[int, ...]]:
    """Read shapes by column."""
    try:
        return {str(k): tuple(map(int, v)) for k, v in json.loads(text).items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidValueError(
            f"inputShapes must be shapes by column, or their JSON. Got {text!r}: {error}"
        ) from error


def to_encoders_text(value: Any) -> str:
    """Return encoders by column as JSON text."""
    if isinstance(value, Mapping):
        value = json.dumps({column: encoder.to_json() for column, encoder in value.items()})
    encoders_of(value)
    return str(value)


def encoders_of(text: str) -> dict[str, TextEncoder]:
    """Read encoders by column."""
    try:
        return {str(k): encoder_from_json(v) for k, v in json.loads(text).items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidValueError(
            f"encoders must be encoders by column, or their JSON. Got {text!r}: {error}"
        ) from error


def to_schedule_text(value: str | Schedule) -> str:
    """Return a schedule's name or JSON; a name can be read only where a run's length is known."""
    return value if isinstance(value, str) else json.dumps(schedule_to_json(value))


def to_loss_text(value: Any) -> str:
    """Return a loss's name or JSON; of several outputs, the JSON of a loss for each.

    Args:
        value: a name, a value of `hilum.optim`, a function marked with `loss_function`; a list of
            these in the order of the outputs; or a mapping from label columns to them, or to pairs
            of one and its weight in the sum.
    """
    if isinstance(value, str):
        loss_of(value)
        return value
    return json.dumps(loss_to_json(_loss(value)))


def _loss(value: Any) -> Objective:
    if isinstance(value, Mapping):
        pairs = [pair if isinstance(pair, tuple) else (pair, 1.0) for pair in value.values()]
        return OutputLosses(
            losses=tuple(_one_loss(loss) for loss, _ in pairs),
            weights=tuple(float(weight) for _, weight in pairs),
            columns=tuple(map(str, value)),
        )
    if isinstance(value, list | tuple):
        return OutputLosses(losses=tuple(map(_one_loss, value)))
    return value if isinstance(value, OutputLosses) else _one_loss(value)


def _one_loss(value: Any) -> Loss:
    if isinstance(value, str):
        value = loss_of(value)
    elif isinstance(value, nn.Module):
        raise _not_by_name(value)
    elif not hasattr(value, "elementwise") and callable(value):
        value = own_loss(value)
    if isinstance(value, OutputLosses) or not hasattr(value, "elementwise"):
        raise InvalidValueError(
            "loss must be a name, a value of hilum.optim, a function marked with loss_function, "
            f"or one of these per output. Got {value!r}."
        )
    found: Loss = value
    return found


def _not_by_name(module: nn.Module) -> InvalidValueError:
    name = type(module).__name__
    known = name in TORCH_LOSSES and type(module).__module__.startswith("torch.")
    options = " ".join(TORCH_LOSSES[name]) if known else ""
    hint = f"'torch:{name}'" if known else "a function marked with hilum.optim.loss_function"
    hint += f", or hilum.optim.TorchLoss with options ({options})" if options else ""
    return InvalidValueError(
        f"loss must be given by name and not as a module. Got {module!r}. Hint: {hint}."
    )


def to_weights_text(value: Any) -> str:
    """Return weights per finding as text: "", "balanced" or numbers with commas between them."""
    if isinstance(value, str):
        weights_of(value)
        return value
    try:
        return ",".join(repr(float(number)) for number in value)
    except (TypeError, ValueError) as error:
        raise _not_weights(value) from error


def weights_of(text: str) -> tuple[float, ...] | None:
    """Read weights per finding; None for "" and for "balanced", which only the labels tell."""
    if text in ("", BALANCED):
        return None
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise _not_weights(text) from error


def _not_weights(value: object) -> InvalidValueError:
    return InvalidValueError(
        f"weights per finding must be empty, {BALANCED!r} or numbers. Got {value!r}."
    )


def to_every_text(value: str | Every) -> str:
    """Return a trigger as text, such as "2 epochs"."""
    if isinstance(value, Every):
        ((unit, count),) = value.to_json().items()
        return f"{count:g} {unit}"
    every_of(value)
    return value


def every_of(text: str) -> Every:
    """Read a trigger: "epoch", "2 epochs", "500 steps", "10 minutes"."""
    match = _EVERY.fullmatch(str(text).strip())
    count, unit = (float(match[1] or 1), match[2]) if match else (math.nan, "")
    if unit == "minute":
        return Every(minutes=count)
    if not count.is_integer():
        raise InvalidValueError(
            'a trigger must be like "epoch", "2 epochs", "500 steps" or "10 minutes". '
            f"Got {text!r}."
        )
    return Every(epochs=int(count)) if unit == "epoch" else Every(steps=int(count))


def to_layer_rule_texts(value: Iterable[str | LayerRule]) -> list[str]:
    """Return rules per layer as texts, such as "layer4.*:lr_factor=0.1"."""
    rules = [rule_from_text(rule) if isinstance(rule, str) else rule for rule in _listed(value)]
    return [rule_to_text(rule) for rule in rules]


def layer_rules_of(texts: Iterable[str]) -> tuple[LayerRule, ...]:
    """Read rules per layer."""
    return tuple(rule_from_text(text) for text in texts)


def to_unfreeze_texts(value: Iterable[str | tuple[int, str]]) -> list[str]:
    """Return when to unfreeze up to which layer as texts, such as "2:layer3"."""
    pairs = unfreeze_of(
        pair if isinstance(pair, str) else f"{pair[0]}:{pair[1]}" for pair in _listed(value)
    )
    return [f"{epoch}:{layer}" for epoch, layer in pairs]


def unfreeze_of(texts: Iterable[str]) -> tuple[tuple[int, str], ...]:
    """Read when to unfreeze up to which layer."""
    pairs = []
    for text in texts:
        epoch, colon, layer = text.partition(":")
        if not (epoch.strip().isdigit() and colon):
            raise InvalidValueError(
                f"unfreeze must be made of EPOCH:LAYER. Got {text!r}. "
                'Hint: "2:layer3" keeps only what lies up to layer3 frozen from epoch 2 on, "4:" '
                "nothing from epoch 4 on; epochs count from 0."
            )
        pairs.append((int(epoch), layer.strip()))
    return tuple(pairs)


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value)
