"""Model and Sequential: connected layers, and what training starts from.

The end of the network is what transfer learning replaces in any network: dropout, a dense layer
with one output per finding, its activation. `transfer` makes it; what comes before is the trunk,
either a loaded network as it is, or a `NetworkSpec` of the layers.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hilum.errors import InvalidValueError, require
from hilum.models.graph import GraphNetwork, NetworkSpec, Node
from hilum.models.initialisation import global_generator_kept
from hilum.models.recipes import GraphRecipe, LoadedModel, PixelContract
from hilum.models.weights import WeightsReport
from hilum.optim import LayerRule
from hilum.zoo.keras import Activation, Dense, Dropout, Flatten, Input, NetLayer, Variable
from hilum.zoo.keras_images import GlobalAveragePooling2D
from hilum.zoo.regularizers import Regularizer, weight_decay_of

if TYPE_CHECKING:
    from hilum.models.transfer_start import TransferStart

__all__ = ["Ending", "Model", "Sequential"]

_ONE_OUTPUT = (
    "NNModel gave one in 2019, too; hilum.spark.NNEstimator learns several outputs of a "
    "torch.nn.Module, by labelCols and a loss for each"
)
_TRUNK_ALONE = (GlobalAveragePooling2D, Flatten)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a network ends.

    Attributes:
        head: the last dense layer.
        activation: of its outputs: "sigmoid", "softmax" or "" for logits.
        dropout: before it.
        features: what the dropout reads.
    """

    head: Dense
    activation: str
    dropout: float
    features: Variable


class Model:
    """Layers from one input or several to an output.

    Attributes:
        inputs, output: where it begins and ends.
    """

    def __init__(
        self,
        input: Variable | Sequence[Variable],
        output: Variable | Sequence[Variable],
        name: str | None = None,
    ) -> None:
        self.inputs = (input,) if isinstance(input, Variable) else tuple(input)
        self.output = _single(output, "output", _ONE_OUTPUT)
        self.name = name
        self.ending = _ending(self.output)

    @property
    def input(self) -> Variable:
        """Where it begins.

        Raises:
            InvalidValueError: it begins at several places.
        """
        return _single(self.inputs, "input", "a network sees one image")

    @property
    def outputs(self) -> int:
        """Numbers per row that come out."""
        return self.ending.head.output_dim

    @property
    def head_decay(self) -> tuple[float, float]:
        """Weight decay of the head's weights and of its biases."""
        head = self.ending.head
        return weight_decay_of(head.W_regularizer), weight_decay_of(head.b_regularizer)

    @property
    def layer_rules(self) -> tuple[LayerRule, ...]:
        """Weight decay of layers before the head that have a regularizer of their own."""
        return _rules(self.ending.features)

    @property
    def whole_rules(self) -> tuple[LayerRule, ...]:
        """Weight decay of all layers that have a regularizer, the last one included."""
        return _rules(self.output)

    @property
    def pixels(self) -> PixelContract:
        """What the network wants to see; of the loaded network in it, if there is one."""
        loaded = _loaded_in(self.output)
        return _of_size(PixelContract() if loaded is None else loaded.pixels, self.input)

    def start(self) -> "TransferStart":
        """What training starts from: the trunk's tensors and, as JSON, how it is built.

        Raises:
            InvalidValueError: the trunk is made of layers around a network that cannot be taken
                apart.
        """
        from hilum.models.transfer_start import transfer

        trunk, cut = _trunk(self.input, self.ending.features)
        weight, _ = self.head_decay
        return transfer(trunk, self.outputs, cut=cut, dropout=self.ending.dropout, l2=weight)

    def whole(self, *, logits: bool = False) -> "TransferStart":
        """What training starts from where the network is trained as it is, on any columns.

        Args:
            logits: leave out the activation at its end.
        """
        from hilum.models.starting import whole_start

        output = _without_activation(self.output) if logits else self.output
        spec, loaded = _spec(self.inputs, output)
        report = WeightsReport(source="", kind="random") if loaded is None else loaded.report
        network = _started(spec, loaded)
        model = LoadedModel(network=network, recipe=GraphRecipe(spec), report=report)
        return whole_start(model, self.name or "Model")

    def summary(self) -> str:
        """One line per layer: its name and the shape of what it gives, without the batch."""
        lines = [
            f"{name:<28} {type(variable.layer).__name__:<24} {variable.shape}"
            for variable, name in _named(self.output).items()
        ]
        return "\n".join(lines)


class Sequential:
    """Layers one after another; the first one says `input_shape`, or `Input` comes first."""

    def __init__(self, layers: Sequence[Any] = ()) -> None:
        self._layers: list[Any] = []
        for layer in layers:
            self.add(layer)

    def add(self, layer: Any) -> "Sequential":
        """Put a layer at the end; returns itself."""
        self._layers.append(layer)
        return self

    def model(self) -> Model:
        """The same network as a `Model`.

        Raises:
            InvalidValueError: the first layer does not say the shape of its input.
        """
        require(bool(self._layers), "layers", "one or more", 0)
        first, *others = self._layers
        if not isinstance(first, Variable):
            shape = getattr(first, "input_shape", None)
            require(shape is not None, "input_shape", "given to the first layer", shape)
            first, others = Input(shape or ()), self._layers
        value = first
        for layer in others:
            value = layer(value)
        return Model(first, value)


def _single(given: Variable | Sequence[Variable], what: str, hint: str) -> Variable:
    if isinstance(given, Variable):
        return given
    require(len(given) == 1, what, "one", len(given), hint=hint)
    return given[0]


def _ending(output: Variable) -> Ending:
    """Take the end of a network apart."""
    value, activation = output, ""
    if isinstance(value.layer, Activation):
        activation, value = value.layer.activation, value.inputs[0]
    head = value.layer
    if not isinstance(head, Dense):
        raise InvalidValueError(
            "the network must end in Dense, one output per finding. "
            f"Got {'nothing' if head is None else type(head).__name__}."
        )
    activation = (activation or head.activation or "").removeprefix("linear")
    known = activation in ("", "sigmoid", "softmax")
    require(known, "activation of the last layer", "sigmoid, softmax or none", activation)
    require(head.bias, "bias of the last layer", "True", head.bias)
    value, kept = value.inputs[0], 1.0
    while isinstance(value.layer, Dropout):
        kept *= 1 - value.layer.p
        value = value.inputs[0]
    return Ending(head=head, activation=activation, dropout=round(1 - kept, 12), features=value)


def _rules(output: Variable) -> tuple[LayerRule, ...]:
    rules = []
    for variable, name in _named(output).items():
        regularizers: list[tuple[str, Regularizer | None]] = [
            ("weight", getattr(variable.layer, "W_regularizer", None)),
            ("bias", getattr(variable.layer, "b_regularizer", None)),
        ]
        for parameter, regularizer in regularizers:
            decay = weight_decay_of(regularizer)
            if decay:
                rules.append(LayerRule(pattern=f"*{name}.{parameter}", weight_decay=decay))
    return tuple(rules)


def _without_activation(output: Variable) -> Variable:
    """The last dense layer alone."""
    head = output.inputs[0] if isinstance(output.layer, Activation) else output
    return replace(head, layer=replace(head.layer, activation=None))


def _trunk(image: Variable, features: Variable) -> tuple[LoadedModel, str | None]:
    """What comes before the head, and the node it ends at where that has to be said."""
    pooled = features
    while isinstance(pooled.layer, _TRUNK_ALONE):
        pooled = pooled.inputs[0]
    # The transfer averages over the image by itself; Flatten is the same only for one pixel.
    one_pixel = all(side == 1 for side in pooled.shape[1:])
    averaged = features is pooled or one_pixel or _is_average(features, pooled)
    if isinstance(pooled.layer, NetLayer) and pooled.inputs[0] is image and averaged:
        return _whole(pooled.layer.loaded, image)
    spec, loaded = _spec((image,), features)
    network = _started(spec, loaded)
    report = WeightsReport(source="", kind="random") if loaded is None else loaded.report
    contract = _of_size(PixelContract() if loaded is None else loaded.pixels, image)
    model = LoadedModel(network=network, recipe=GraphRecipe(spec), report=report, pixels=contract)
    return model, spec.outputs[0]


def _is_average(features: Variable, pooled: Variable) -> bool:
    inner = features
    while inner.inputs[0] is not pooled:
        inner = inner.inputs[0]
    return isinstance(inner.layer, GlobalAveragePooling2D)


def _whole(loaded: LoadedModel, image: Variable) -> tuple[LoadedModel, str | None]:
    network = loaded.network
    cut = network.spec.outputs[0] if isinstance(network, GraphNetwork) else None
    return replace(loaded, pixels=_of_size(loaded.pixels, image)), cut


def _of_size(pixels: PixelContract, image: Variable) -> PixelContract:
    """The contract with the size that the script says its images have."""
    shape = image.shape
    return replace(pixels, size_px=(shape[1], shape[2])) if len(shape) == 3 else pixels


def _named(output: Variable) -> dict[Variable, str]:
    """All that a variable is computed from, itself last, with the names of the nodes."""
    order: dict[Variable, str] = {}
    counts: Counter[str] = Counter()
    left: list[tuple[Variable, bool]] = [(output, False)]
    while left:
        variable, ready = left.pop()
        if variable in order:
            continue
        if not ready:
            left += [(variable, True), *((read, False) for read in reversed(variable.inputs))]
            continue
        kind = "input" if variable.layer is None else type(variable.layer).__name__.lower()
        counts[kind] += 1
        order[variable] = variable.name or f"{kind}_{counts[kind]}"
    return order


def _loaded_in(output: Variable) -> LoadedModel | None:
    for variable in _named(output):
        if isinstance(variable.layer, NetLayer):
            return variable.layer.loaded
    return None


def _spec(inputs: tuple[Variable, ...], output: Variable) -> tuple[NetworkSpec, LoadedModel | None]:
    """The layers as nodes; those of a loaded network keep their names."""
    names = _named(output)
    for image in inputs:
        require(image in names, "input", "what the output is computed from", image.name)
    ends: dict[Variable, str] = {image: names[image] for image in inputs}
    nodes: list[Node] = []
    loaded: LoadedModel | None = None
    for variable, name in names.items():
        if variable.layer is None:
            require(variable in inputs, "input", "among those of the model", name)
            continue
        read = tuple(ends[value] for value in variable.inputs)
        if isinstance(variable.layer, NetLayer):
            require(loaded is None, "loaded networks", "one", "two")
            loaded = variable.layer.loaded
            added = _spliced(loaded, read[0])
        else:
            added = _nodes(variable, name, read)
        nodes += added
        ends[variable] = added[-1].name if added else read[0]
    begins = tuple(names[image] for image in inputs)
    spec = NetworkSpec(inputs=begins, nodes=tuple(nodes), outputs=(ends[output],))
    return spec, loaded


def _nodes(variable: Variable, name: str, read: tuple[str, ...]) -> list[Node]:
    shapes = [value.shape for value in variable.inputs]
    parts = list(variable.layer.parts(shapes))
    nodes = []
    # What carries the parameters has the layer's own name, what stands around it a longer one.
    main = max(range(len(parts)), key=lambda at: _weight_of(parts[at][0]))
    for at, (layer, options) in enumerate(parts):
        own = name if at == main else f"{name}/{layer.lower()}"
        nodes.append(Node(name=own, layer=layer, options=options, inputs=read))
        read = (own,)
    return nodes


def _weight_of(layer: str) -> int:
    return 2 if layer in ("Linear", "Conv2d") else int(layer not in ("Pad", "Flatten"))


def _spliced(loaded: LoadedModel, source: str) -> list[Node]:
    network = loaded.network
    if not isinstance(network, GraphNetwork):
        raise InvalidValueError(
            "layers must follow a network of named nodes, or be GlobalAveragePooling2D, Dropout "
            f"and Dense. Got a {type(network).__name__}. "
            "Hint: cut it where its values are averaged, with new_graph."
        )
    spec = network.spec
    require(len(spec.inputs) == len(spec.outputs) == 1, "network", "of one input and output", spec)
    # Its output has to come last, for whatever follows reads the last node.
    nodes = sorted(spec.nodes, key=lambda node: node.name == spec.outputs[0])
    return [
        Node(
            name=node.name,
            layer=node.layer,
            options=node.options,
            inputs=tuple(source if name == spec.inputs[0] else name for name in node.inputs),
        )
        for node in nodes
    ]


def _started(spec: NetworkSpec, loaded: LoadedModel | None) -> GraphNetwork:
    """The network of a spec: new layers Xavier-uniform from a fixed seed, others as loaded."""
    import torch
    from torch import nn

    with global_generator_kept(0):
        network = GraphNetwork(spec)
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    if loaded is not None:
        known: Mapping[str, torch.Tensor] = loaded.network.state_dict()
        network.load_state_dict(dict(known), strict=False)
        learns = {name: p.requires_grad for name, p in loaded.network.named_parameters()}
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(learns.get(name, True))
    return network.eval()
