"""Convolutions and pools whose borders are those of TensorFlow and BigDL."""

from collections.abc import Mapping
from typing import Literal

from hilum.errors import require
from hilum.models.graph.spec import Option
from hilum.models.roads.assembly import Array, Assembly

__all__ = ["NO_BORDER", "Border", "Pair", "convolve", "pool"]

Pair = tuple[int, int]
Border = Literal["SAME"] | tuple[int, int, int, int]
"""Rows above, rows below, columns left, columns right; or what "SAME" makes of the image's size."""

NO_BORDER: Border = (0, 0, 0, 0)
_LARGEST = 1 << 31


def convolve(
    assembly: Assembly,
    name: str,
    source: str,
    *,
    tensors: Mapping[str, Array],
    stride: Pair,
    border: Border,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> str:
    """Add a convolution; where PyTorch has not its border, a node NAME/pad before it.

    Args:
        assembly: where to.
        name: of the node.
        source: what it reads.
        tensors: "weight" (outputs, inputs / groups, height, width), perhaps "bias".
        stride: height and width.
        border: see `Border`.
        dilation: height and width.
        groups: of channels.
    """
    weight = tensors["weight"]
    kernel = (weight.shape[2], weight.shape[3])
    _check(name, kernel, stride, dilation)
    border = _settled(border, kernel, stride, dilation)
    if border == "SAME":
        options: dict[str, Option] = {
            "kernel_size": kernel,
            "stride": stride,
            "dilation": dilation,
        }
        source, padding = assembly.add(f"{name}/pad", "PadSame", [source], options), (0, 0)
    else:
        source, padding = _outside(assembly, name, source, border, 0.0)
    return assembly.add(
        name,
        "Conv2d",
        [source],
        {
            "in_channels": weight.shape[1] * groups,
            "out_channels": weight.shape[0],
            "kernel_size": kernel,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "bias": "bias" in tensors,
        },
        tensors,
    )


def pool(
    assembly: Assembly,
    name: str,
    source: str,
    *,
    kind: Literal["MaxPool2d", "AvgPool2d"],
    kernel: Pair,
    stride: Pair,
    border: Border,
    ceil_mode: bool = False,
    count_border: bool = False,
) -> str:
    """Add a pool; a maximum never sees its border, an average counts it if `count_border`.

    Raises:
        InvalidValueError: a border wider than half of the kernel.
    """
    _check(name, kernel, stride, (1, 1))
    border = _settled(border, kernel, stride, (1, 1))
    options: dict[str, Option] = {"kernel_size": kernel, "stride": stride}
    padding = (0, 0)
    if border == "SAME":
        if kind == "AvgPool2d" and not count_border:
            return assembly.add(name, "AveragePoolSame", [source], options)
        value = float("-inf") if kind == "MaxPool2d" else 0.0
        source = assembly.add(f"{name}/pad", "PadSame", [source], {**options, "value": value})
    else:
        require(
            all(2 * max(border[i : i + 2]) <= kernel[i // 2] for i in (0, 2)),
            f"border of pool {name!r}",
            "at most half of the kernel",
            border,
        )
        even = border[0] == border[1] and border[2] == border[3]
        require(
            even or kind == "MaxPool2d" or count_border,
            f"border of pool {name!r}",
            "as wide on both sides",
            border,
        )
        value = float("-inf") if kind == "MaxPool2d" else 0.0
        source, padding = _outside(assembly, name, source, border, value)
    options |= {"padding": padding, "ceil_mode": ceil_mode}
    if kind == "AvgPool2d":
        options["count_include_pad"] = count_border
    return assembly.add(name, kind, [source], options)


def _check(name: str, *pairs: Pair) -> None:
    for pair in pairs:
        require(
            all(1 <= size <= _LARGEST for size in pair),
            f"kernel, stride and dilation of {name!r}",
            "of 1 or more",
            pairs,
        )


def _settled(border: Border, kernel: Pair, stride: Pair, dilation: Pair) -> Border:
    """SAME with steps of 1 and odd kernels is the same border for every image."""
    spans = [(size - 1) * step for size, step in zip(kernel, dilation, strict=True)]
    if border != "SAME" or stride != (1, 1) or any(span % 2 for span in spans):
        return border
    return (spans[0] // 2,) * 2 + (spans[1] // 2,) * 2


def _outside(
    assembly: Assembly, name: str, source: str, border: tuple[int, int, int, int], value: float
) -> tuple[str, Pair]:
    top, bottom, left, right = border
    require(
        all(0 <= width <= _LARGEST for width in border), f"border of {name!r}", "0 or more", border
    )
    if top == bottom and left == right:
        return source, (top, left)
    options: dict[str, Option] = {"padding": (left, right, top, bottom), "value": value}
    return assembly.add(f"{name}/pad", "Pad", [source], options), (0, 0)
