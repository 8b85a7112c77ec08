"""A network while a road reads it: nodes with safe names, and their tensors."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import torch
from torch import Tensor

from hilum.errors import InvalidValueError, require
from hilum.models.graph import GraphNetwork, NetworkSpec, Node
from hilum.models.graph.network import is_taken
from hilum.models.graph.spec import MAX_NODES, Option
from hilum.models.published import sha256_of_file
from hilum.models.recipes import GraphRecipe, LoadedModel, PixelContract
from hilum.models.weights import WeightsReport

__all__ = ["Array", "Assembly", "in_order", "shaped"]

Array = np.ndarray[Any, Any]
_SPARE_BYTES = 64 << 20  # constants that a few bytes fill: biases of zeros


class Assembly:
    """Collects nodes in the order of the forward pass.

    Args:
        inputs: names of what the network takes.
        bytes_at_hand: size of the files; tensors cannot be larger than the bytes they come from.
    """

    def __init__(self, inputs: Iterable[str], bytes_at_hand: int) -> None:
        self._used: dict[str, int] = {}  # and how many more wanted the same
        self._nodes: list[Node] = []
        self._tensors: dict[str, Array] = {}
        # Double precision becomes single, half precision too: twice the file at most.
        self._bytes_left = 2 * bytes_at_hand + _SPARE_BYTES
        self.inputs = tuple(self.name(name) for name in inputs)

    def name(self, wanted: str) -> str:
        """A name for a node that nothing else has: as wanted, but for what PyTorch cannot take.

        Dots become underscores ("conv1.bn" would be a path of modules), names of a module's own
        attributes get one more, names that are taken get a number.
        """
        wanted = normalize("NFKC", wanted)
        clean = "".join(c if c.isprintable() and c not in '."\\' else "_" for c in wanted) or "node"
        clean = f"{clean}_" if is_taken(clean) else clean
        free = clean
        while free in self._used:  # the number goes on, so that a name used often costs no time
            self._used[clean] = self._used.get(clean, 0) + 1
            free = f"{clean}_{self._used[clean]}"
        self._used[free] = 0
        return free

    @property
    def nodes(self) -> Sequence[Node]:
        """Nodes so far."""
        return self._nodes

    def add(
        self,
        name: str,
        layer: str,
        inputs: Sequence[str],
        options: Mapping[str, Option] | None = None,
        tensors: Mapping[str, Array] | None = None,
    ) -> str:
        """Add a node.

        Args:
            name: as the file calls it.
            layer: of `hilum.models.graph.LAYERS`.
            inputs: names that `add` returned, or inputs of the network.
            options: of the layer.
            tensors: its parameters and buffers, float.

        Returns:
            The name it got.
        """
        require(len(self._nodes) < MAX_NODES, "nodes", f"at most {MAX_NODES}", "more")
        own = self.name(name)
        self._nodes.append(Node(name=own, layer=layer, options=options or {}, inputs=tuple(inputs)))
        for key, value in (tensors or {}).items():
            self._bytes_left -= 4 * value.size
            require(
                self._bytes_left >= 0,
                f"tensors of node {name!r}",
                "no larger than the file that holds them",
                value.shape,
            )
            self._tensors[f"{own}.{key}"] = value
        return own

    def finish(
        self,
        outputs: Sequence[str],
        *,
        files: Sequence[Path],
        pixels: PixelContract,
        image: Sequence[int] = (),
        unexpected: Sequence[str] = (),
        note: str = "",
    ) -> LoadedModel:
        """Build the network of what the outputs need, with its tensors, in evaluation mode.

        Args:
            outputs: names that `add` returned.
            files: where it all came from; the last holds the weights.
            pixels: what the network wants to see.
            image: sizes (C, H, W) of its one input, where the file says them: then it is tried
                whether all layers fit together, without computing anything.
            unexpected: tensors of the file without a place.
            note: for the report.

        Raises:
            InvalidValueError: a tensor is missing or of another shape than its layer's, or layers
                do not fit together.
        """
        require(bool(self._nodes), "a network", "one layer or more", str(files[0]))
        spec = NetworkSpec(inputs=self.inputs, nodes=tuple(self._nodes), outputs=tuple(outputs))
        spec = spec.up_to(*outputs)
        require(bool(spec.inputs), "outputs", "nodes that depend on the input", list(outputs))
        recipe = GraphRecipe(spec)
        with torch.device("meta"):  # no memory before the shapes are known to fit
            network = recipe.build()
            if len(spec.inputs) == 1 and image and min(image) > 0:
                _try(network.eval(), image)
        places = network.state_dict()
        tensors = {name: self._tensor(name, place) for name, place in places.items()}
        network.load_state_dict(tensors, strict=True, assign=True)
        report = WeightsReport(
            source=str(files[-1]),
            kind="file",
            loaded=sum(name in self._tensors for name in places),
            missing=tuple(name for name in places if name not in self._tensors),
            unexpected=tuple(unexpected),
            sha256=sha256_of_file(files[-1]),
            note=note,
        )
        return LoadedModel(network=network.eval(), recipe=recipe, report=report, pixels=pixels)

    def _tensor(self, name: str, place: Tensor) -> Tensor:
        if name not in self._tensors and name.endswith(".num_batches_tracked"):
            return torch.zeros((), dtype=torch.long)  # no other program counts them
        found = self._tensors.get(name)
        shape = None if found is None else tuple(found.shape)
        require(
            found is not None and shape == tuple(place.shape),
            f"tensor {name!r}",
            f"of shape {tuple(place.shape)}",
            shape,
            hint="the file is damaged, or its weights belong to another network",
        )
        # A copy in this machine's byte order, which outlives the file's bytes.
        with np.errstate(all="ignore"):  # too large for single precision: infinite
            return torch.from_numpy(np.array(found, dtype=np.float32, order="C"))


def _try(network: GraphNetwork, image: Sequence[int]) -> None:
    try:
        network(torch.empty(1, *image))
    # What a layer raises for inputs that are not for it is up to PyTorch.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidValueError(
            f"layers must fit together for images of {tuple(image)}. Got {reason} "
            "Hint: the file is damaged, or its weights belong to another network."
        ) from error


def shaped(values: Array, shape: Sequence[int], what: str) -> Array:
    """View numbers in a shape that a file claims for them.

    Raises:
        InvalidValueError: another number of them.
    """
    count = 1
    for size in shape:
        require(size >= 0, f"shape of {what}", "of sizes of 0 or more", list(shape))
        count *= size
    require(count == values.size, what, f"{count} numbers, shape {list(shape)}", values.size)
    return values.reshape(tuple(shape))


def in_order(reads: Mapping[str, Sequence[str]], what: str) -> list[str]:
    """Names of nodes, each behind those it reads, otherwise as the file has them.

    Args:
        reads: for every node the nodes it reads, all of them keys.
        what: for errors: "a BigDL graph".

    Raises:
        InvalidValueError: there is a cycle.
    """
    place = {name: number for number, name in enumerate(reads)}
    waits = {name: len(set(sources)) for name, sources in reads.items()}
    readers: dict[str, list[str]] = {name: [] for name in reads}
    for name, sources in reads.items():
        for source in set(sources):
            readers[source].append(name)
    names = list(reads)
    ready = [place[name] for name in names if waits[name] == 0]
    heapq.heapify(ready)
    ordered = []
    while ready:
        name = names[heapq.heappop(ready)]
        ordered.append(name)
        for reader in readers[name]:
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, place[reader])
    if len(ordered) < len(names):
        looped = [name for name in names if waits[name]][:3]
        raise InvalidValueError(
            f"{what} must be without cycles. Got one through {', '.join(map(repr, looped))}. "
            "Hint: the file is damaged."
        )
    return ordered
