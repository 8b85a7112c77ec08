"""Caffe: a prototxt (what is computed) and a caffemodel (with which weights).

Layers keep the names they have in Caffe, also those that write into the blob they read (ReLU,
BatchNorm, Scale, Dropout "in place"). So the node "conv1" is what the convolution gives and
"conv1_relu" what comes behind it, where Caffe's own blob "conv1" is the latter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.roads.assembly import Array, Assembly, shaped
from hilum.models.roads.caffe_layers import LAYERS, Blob, Layer
from hilum.models.roads.text_format import Tree, read_tree
from hilum.models.roads.wire import MAX_TEXT_BYTES, Message, read_file, read_message

__all__ = ["load_caffe"]

_PIXEL_MAX = 255.0
# What feeds a network, and what judges it in training; neither computes anything here.
_DATA = {"Data", "ImageData", "HDF5Data", "MemoryData", "DummyData", "WindowData", "Input"}
_JUDGES = {"Accuracy", "ArgMax", "HDF5Output", "Silence"}
# The layer types of 2013 whose names are more than a change of capitals.
_OLD_TYPES = {
    "BNLL": "BNLL",
    "CONVOLUTION": "Convolution",
    "DECONVOLUTION": "Deconvolution",
    "HDF5_DATA": "HDF5Data",
    "IMAGE_DATA": "ImageData",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "RELU": "ReLU",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}


def load_caffe(definition: str | Path, weights: str | Path) -> LoadedModel:
    """Read a network of Caffe; it computes what Caffe computes in its TEST phase.

    The input is (N, C, H, W), planes in the order blue, green, red, as OpenCV reads them and as
    `pixels.channels` says. Where the definition says what is subtracted from pixels of 0..255 and
    what they are multiplied with (transform_param), `pixels` has it for pixels of 0..1. Of several
    ends (auxiliary classifiers) the last is the output; losses and accuracies are left out.

    Args:
        definition: the .prototxt, deploy or train_val.
        weights: the .caffemodel.

    Raises:
        InvalidValueError: a file is damaged, a kind of layer is not known here, or the two files
            do not belong together.
    """
    definition, weights = Path(definition), Path(weights)
    text = read_file(definition, "a Caffe definition", MAX_TEXT_BYTES)
    net = read_tree(text.decode("utf-8", "replace"), "a Caffe definition")
    data = read_file(weights, "a Caffe model")
    blobs = _blobs(read_message(data, "a Caffe model"))
    layers = _layers(net)
    feeds = _feeds(net, layers)
    assembly = Assembly([feed.name for feed in feeds], len(data))
    flow = _Flow(assembly, feeds)
    for layer in layers:
        flow.run(layer, blobs)
    ends = flow.ends()
    require(bool(ends), "a Caffe definition", "a network with a layer of output", str(definition))
    return assembly.finish(
        ends[-1:],
        files=(definition, weights),
        pixels=_pixels(feeds, layers),
        image=feeds[0].sizes[1:],
        unexpected=[
            f"{name}.{i}" for name in blobs if name not in flow.met for i in range(len(blobs[name]))
        ],
        note=f"other ends left out: {', '.join(ends[:-1])}" if len(ends) > 1 else "",
    )


@dataclass(frozen=True, slots=True)
class _Feed:
    """An input of the network; sizes (N, C, H, W) where the file says them."""

    name: str
    sizes: tuple[int, ...] = ()


def _layers(net: Tree) -> list[Tree]:
    layers = net.trees("layer") or net.trees("layers")
    require(
        not any("layer" in layer for layer in layers),
        "a Caffe definition",
        "of the year 2014 or later",
        "layers within layers",
        hint="Caffe's own upgrade_net_proto_text brings it up to date",
    )
    return [layer for layer in layers if _in_test_phase(layer)]


def _in_test_phase(layer: Tree) -> bool:
    include, exclude = layer.trees("include"), layer.trees("exclude")
    if include and not any(_holds(rule) for rule in include):
        return False
    return not any(_holds(rule) for rule in exclude)


def _holds(rule: Tree) -> bool:
    return rule.text("phase", "TEST") in ("TEST", "1") and "stage" not in rule


def _type(layer: Tree) -> str:
    kind = layer.text("type")
    if kind not in LAYERS and (kind.isupper() or "_" in kind):
        plain = "".join(part.capitalize() for part in kind.split("_"))
        return _OLD_TYPES.get(kind, plain)
    return kind


def _feeds(net: Tree, layers: Sequence[Tree]) -> list[_Feed]:
    dims, shapes = net.integers("input_dim"), net.trees("input_shape")
    feeds = []
    for number, name in enumerate(net.texts("input")):
        sizes = dims[4 * number : 4 * number + 4]
        if number < len(shapes):
            sizes = shapes[number].integers("dim")
        feeds.append(_Feed(name, tuple(sizes)))
    for layer in layers:
        tops = layer.texts("top")
        if _type(layer) in _DATA and tops:
            shape = layer.tree("input_param").tree("shape").integers("dim")
            feeds.append(_Feed(tops[0], tuple(shape)))
    # BigDL's writer of Caffe files leaves the input out.
    return feeds or [_Feed("data")]


def _pixels(feeds: Sequence[_Feed], layers: Sequence[Tree]) -> PixelContract:
    sizes = feeds[0].sizes
    size_px = (sizes[2], sizes[3]) if len(sizes) == 4 else None
    changes = [layer.tree("transform_param") for layer in layers if "transform_param" in layer]
    if not changes:
        return PixelContract(channels="BGR", size_px=size_px)
    change = changes[0]
    crop, scale = change.integer("crop_size", 0), change.real("scale", 1.0)
    means = change.reals("mean_value")
    require(scale > 0, "scale of transform_param", "above 0", scale)
    mean = tuple(value / _PIXEL_MAX for value in (means * 3 if len(means) == 1 else means))
    return PixelContract(
        channels="BGR",
        mean=mean or (None if "mean_file" in change else (0.0, 0.0, 0.0)),
        std=(1 / (scale * _PIXEL_MAX),) * (len(mean) or 3),
        size_px=(crop, crop) if crop > 0 else size_px,
    )


def _blobs(model: Message) -> dict[str, list[Array]]:
    """Weights by the name of their layer; a layer that appears twice has them once."""
    found: dict[str, list[Array]] = {}
    for number, name, blobs in ((100, 1, 7), (2, 4, 6)):
        for layer in model.messages(number):
            values = [_blob(blob, layer.text(name)) for blob in layer.messages(blobs)]
            if values:
                found[layer.text(name)] = values
    return found


def _blob(blob: Message, layer: str) -> Array:
    values = blob.array(5, "<f4") if 5 in blob else blob.array(8, "<f8")
    old = [blob.integer(number) for number in (1, 2, 3, 4) if number in blob]
    # Other programs give some of the four sizes of old: only a whole set says anything.
    shape = blob.message(7).integers(1) if 7 in blob else old if len(old) == 4 else [values.size]
    return shaped(values, shape, f"weights of Caffe layer {layer!r}")


class _Flow:
    """Runs through the layers in the order of the file and knows who wrote which blob last."""

    def __init__(self, assembly: Assembly, feeds: Sequence[_Feed]) -> None:
        self._assembly = assembly
        self._blobs = {
            feed.name: Blob(own) for feed, own in zip(feeds, assembly.inputs, strict=True)
        }
        self._without_input = [feeds[0].name]
        self._unread: dict[str, None] = {}  # in the order in which they were written
        self.met: set[str] = set()

    def run(self, layer: Tree, weights: Mapping[str, Sequence[Array]]) -> None:
        """Add the nodes of a layer."""
        name, kind = layer.text("name"), _type(layer)
        if kind in _DATA or kind in _JUDGES or kind.endswith("Loss"):
            return
        require(
            kind in LAYERS,
            f"type of Caffe layer {name!r}",
            f"one of {', '.join(sorted(LAYERS))}",
            kind,
        )
        self.met.add(name)
        bottoms = layer.texts("bottom") or self._without_input
        self._without_input = []
        require(bool(bottoms), f"bottom of Caffe layer {name!r}", "a blob", "none")
        read = [self._read(bottom, name) for bottom in bottoms]
        found = [np.asarray(blob) for blob in weights.get(name, [])]
        made = LAYERS[kind](
            Layer(name=name, fields=layer, read=read, blobs=found, assembly=self._assembly)
        )
        for blob in read:
            self._unread.pop(blob.node, None)
        self._unread[made.node] = None
        # Several tops are copies: Caffe's Split, and what BigDL's writer makes of every fork.
        for top in layer.texts("top") or [name]:
            self._blobs[top] = made

    def _read(self, bottom: str, layer: str) -> Blob:
        if bottom not in self._blobs:
            raise InvalidValueError(
                f"bottom of Caffe layer {layer!r} must be a blob that a layer before it writes. "
                f"Got {bottom!r}."
            )
        return self._blobs[bottom]

    def ends(self) -> list[str]:
        """Nodes that nobody reads."""
        return list(self._unread)
