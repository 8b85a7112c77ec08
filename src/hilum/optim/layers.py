"""Learning rate and weight decay by layer: rules by name, and rates that fall with depth.

Layers near the input of a trained network hold what all pictures share and need to change least;
layers near the output hold what the old task wanted (Howard & Ruder 2018, "discriminative
fine-tuning").
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from hilum.errors import InvalidValueError, require

__all__ = ["LayerRule", "depths", "rule_for", "rule_from_text", "rule_to_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRule:
    """What the parameters of some layers have of their own.

    Attributes:
        pattern: of full parameter names, with the shell's wildcards: "layer4.*", "*.attn.*".
        lr_factor: their learning rate over the schedule's; None leaves it alone.
        weight_decay: theirs; None leaves it alone. Norms and biases stay without, unless the
            specification says that they decay, too.
    """

    pattern: str
    lr_factor: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        named = isinstance(self.pattern, str) and bool(self.pattern)
        require(named, "pattern", 'a pattern of parameter names, such as "layer4.*"', self.pattern)
        factor, decay = self.lr_factor, self.weight_decay
        require(
            factor is None or (factor > 0 and math.isfinite(factor)),
            "lr_factor",
            "None or a finite number above 0",
            factor,
            hint="a layer that shall not learn is frozen: freeze=...",
        )
        require(
            decay is None or (decay >= 0 and math.isfinite(decay)),
            "weight_decay",
            "None or a finite number of at least 0",
            decay,
        )
        some = factor is not None or decay is not None
        require(some, "a layer rule", "one with lr_factor or weight_decay", self.pattern)


def rule_from_text(text: str) -> LayerRule:
    """Read "PATTERN:lr_factor=NUMBER,weight_decay=NUMBER", either of the two or both.

    Raises:
        InvalidValueError: another form, or a value that breaks its rule.
    """
    pattern, _, settings = text.partition(":")
    try:
        values = {
            name.strip(): float(number)
            for name, _, number in (part.partition("=") for part in settings.split(","))
        }
        return LayerRule(pattern=pattern.strip(), **values)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"a layer rule must be PATTERN:lr_factor=NUMBER,weight_decay=NUMBER. Got {text!r}: "
            f"{error}"
        ) from error


def rule_to_text(rule: LayerRule) -> str:
    """Return what `rule_from_text` reads."""
    values = (("lr_factor", rule.lr_factor), ("weight_decay", rule.weight_decay))
    given = ",".join(f"{name}={value!r}" for name, value in values if value is not None)
    return f"{rule.pattern}:{given}"


def rule_for(name: str, rules: Sequence[LayerRule]) -> LayerRule | None:
    """Return the first rule that matches a parameter's name, or None."""
    return next((rule for rule in rules if fnmatchcase(name, rule.pattern)), None)


def depths(
    named_parameters: Sequence[tuple[str, nn.Parameter]], head_names: Collection[str]
) -> dict[str, int]:
    """Return how many blocks before the head each parameter is: 0 in the head, then 1, 2, ...

    A block is what shares a name up to its first part with a digit in it ("layer4" of ResNet,
    "features.denseblock3" of DenseNet, "blocks.5" of EfficientNet), in order of registration.
    Blocks of scales and biases alone ("bn1") belong to the block before them.
    """
    blocks: list[str] = []
    block_of: dict[str, str] = {}
    for name, parameter in named_parameters:
        if name in head_names:
            continue
        block = _block(name)
        if block not in block_of.values() and parameter.ndim <= 1 and blocks:
            block = blocks[-1]
        elif block not in blocks:
            blocks.append(block)
        block_of[name] = block
    last = len(blocks)
    return {
        name: 0 if name in head_names else last - blocks.index(block_of[name])
        for name, _ in named_parameters
    }


def _block(name: str) -> str:
    parts = name.split(".")
    modules = parts[:-1] or parts
    for position, part in enumerate(modules):
        if any(character.isdigit() for character in part):
            return ".".join(modules[: position + 1])
    return modules[0]
