"""Writes networks of torchvision as Caffe files: their structure as a prototxt, their weights."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

import wire_writer as wire

Emit = Callable[["CaffeNet", str, Any, list[str]], str]


class CaffeNet:
    """A network that is being written: prototxt and caffemodel side by side."""

    def __init__(self, input_name: str, shape: Sequence[int]) -> None:
        dims = " ".join(f"input_dim: {size}" for size in shape)
        self.text = [f'name: "net" input: "{input_name}" {dims}']
        self.model = [wire.block(1, "net")]

    def layer(
        self,
        name: str,
        kind: str,
        bottoms: Sequence[str],
        settings: str = "",
        blobs: Sequence[Tensor] = (),
        *,
        top: str = "",
    ) -> str:
        """Add a layer; `top` is the bottom itself for layers that work in place."""
        top = top or name
        read = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
        self.text.append(
            f'layer {{ name: "{name}" type: "{kind}" {read} top: "{top}" {settings} }}'
        )
        stored = b"".join(wire.block(7, blob_of(blob)) for blob in blobs)
        self.model.append(wire.block(100, wire.block(1, name) + wire.block(2, kind) + stored))
        return top

    def write(self, folder: Path) -> tuple[Path, Path]:
        definition, weights = folder / "net.prototxt", folder / "net.caffemodel"
        definition.write_text("\n".join(self.text), encoding="utf-8")
        weights.write_bytes(b"".join(self.model))
        return definition, weights


def blob_of(tensor: Tensor) -> bytes:
    shape = wire.block(7, wire.packed(1, tensor.shape))
    return shape + wire.floats(5, tensor.detach().numpy().ravel())


def caffe_of(network: nn.Module, image: Tensor, folder: Path) -> tuple[Path, Path]:
    """Write a network as Caffe would have it, layer for layer."""
    written = CaffeNet("data", image.shape)
    blobs: dict[fx.Node, str] = {}
    for node in fx.symbolic_trace(network).graph.nodes:
        bottoms = [blobs[source] for source in node.all_input_nodes if source in blobs]
        if node.op == "placeholder":
            blobs[node] = "data"
        elif node.op == "call_module":
            module = network.get_submodule(node.target)
            emit = _LAYERS[type(module)]
            blobs[node] = emit(written, node.target.replace(".", "/"), module, bottoms)
        elif node.op in ("call_function", "call_method"):
            target = node.target if isinstance(node.target, str) else node.target.__name__
            blobs[node] = _FUNCTIONS[target](written, node.name, node, bottoms)
    return written.write(folder)


def _pair(name: str, value: Any) -> str:
    height, width = (value, value) if isinstance(value, int) else value
    return f"{name}_h: {height} {name}_w: {width}"


def _conv(net: CaffeNet, name: str, module: Any, bottoms: list[str]) -> str:
    settings = " ".join(
        [
            f"num_output: {module.out_channels} bias_term: {str(module.bias is not None).lower()}",
            f"group: {module.groups} dilation: {module.dilation[0]}",
            _pair("kernel", module.kernel_size),
            _pair("stride", module.stride),
            _pair("pad", module.padding),
        ]
    )
    blobs = [module.weight] if module.bias is None else [module.weight, module.bias]
    return net.layer(name, "Convolution", bottoms, f"convolution_param {{ {settings} }}", blobs)


def _norm(net: CaffeNet, name: str, module: Any, bottoms: list[str]) -> str:
    factor = 0.25  # Caffe's moving average counts its weight beside the sums
    stored = [module.running_mean * factor, module.running_var * factor, torch.tensor([factor])]
    settings = f"batch_norm_param {{ eps: {module.eps!r} }}"
    top = net.layer(name, "BatchNorm", bottoms, settings, stored)
    learnt = [module.weight, module.bias]
    # In place: the blob keeps its name, the layer has another.
    return net.layer(
        f"{name}/scale", "Scale", [top], "scale_param { bias_term: true }", learnt, top=top
    )


def _relu(net: CaffeNet, name: str, _: Any, bottoms: list[str]) -> str:
    times = sum(f'name: "{name}' in text for text in net.text)  # torchvision uses one many times
    return net.layer(f"{name}_{times}", "ReLU", bottoms, top=bottoms[0])


def _pool(method: str) -> Emit:
    def emit(net: CaffeNet, name: str, module: Any, bottoms: list[str]) -> str:
        settings = f"pool: {method} kernel_size: {module.kernel_size} stride: {module.stride}"
        rounding = "" if module.ceil_mode else "round_mode: FLOOR"
        settings = f"pooling_param {{ {settings} pad: {module.padding} {rounding} }}"
        return net.layer(name, "Pooling", bottoms, settings)

    return emit


def _global_pool(net: CaffeNet, name: str, _: Any, bottoms: list[str]) -> str:
    return net.layer(name, "Pooling", bottoms, "pooling_param { pool: AVE global_pooling: true }")


def _linear(net: CaffeNet, name: str, module: Any, bottoms: list[str]) -> str:
    settings = f"inner_product_param {{ num_output: {module.out_features} }}"
    return net.layer(name, "InnerProduct", bottoms, settings, [module.weight, module.bias])


def _dropout(net: CaffeNet, name: str, module: Any, bottoms: list[str]) -> str:
    settings = f"dropout_param {{ dropout_ratio: {module.p} }}"
    return net.layer(name, "Dropout", bottoms, settings, top=bottoms[0])


def _plain(kind: str) -> Emit:
    return lambda net, name, _, bottoms: net.layer(name, kind, bottoms)


_LAYERS: dict[type[nn.Module], Emit] = {
    nn.AdaptiveAvgPool2d: _global_pool,
    nn.AvgPool2d: _pool("AVE"),
    nn.BatchNorm2d: _norm,
    nn.Conv2d: _conv,
    nn.Dropout: _dropout,
    nn.Flatten: _plain("Flatten"),
    nn.Linear: _linear,
    nn.MaxPool2d: _pool("MAX"),
    nn.ReLU: _relu,
}
_FUNCTIONS: dict[str, Emit] = {
    "adaptive_avg_pool2d": _global_pool,
    "add": _plain("Eltwise"),
    "cat": _plain("Concat"),
    "flatten": lambda *parts: parts[3][0],
    "relu": _relu,
}
