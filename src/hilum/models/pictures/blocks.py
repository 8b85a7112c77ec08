"""A network's nodes in blocks, so that a person can read a picture of a hundred layers.

Where nodes know their modules, a block is the outermost module that is more than a container
(ResNet's `layer1.0`, a Bottleneck). In networks from files, whose nodes know none, it is what lies
between two points that everything passes through. Layers that only normalise or bend what the one
before made join that one, and blocks of the same kind in a row become one with a count.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from hilum.models.inspection import NodeInfo

__all__ = ["Block", "blocks_inside", "blocks_of"]

_CONTAINERS = {"Sequential", "ModuleList", "ModuleDict", "Module", "GraphModule", "CutNetwork"}
_MANY = 3  # members that make a container in a module a sequence of blocks, and not a branch
_JOINING = (
    *("BatchNorm", "ReLU", "relu", "ELU", "GELU", "gelu", "SiLU", "silu", "Hardswish", "Sigmoid"),
    *("sigmoid", "Softmax", "softmax", "Tanh", "Dropout", "dropout", "Identity", "Flatten"),
    *(
        "flatten",
        "Reshape",
        "reshape",
        "Affine",
        "LocalResponseNorm",
        "Hardtanh",
        "BatchNormAct",
        "StochasticDepth",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Nodes that are drawn as one.

    Attributes:
        name: of the module or the nodes.
        kind: class of the module, or the layers one after the other.
        nodes: what it consists of; of all repetitions.
        inputs: positions in the list of blocks of those it reads; -1 is the network's input.
        count: how many of the same kind in a row.
        path: of its module; "" if it is none.
    """

    name: str
    kind: str
    nodes: tuple[NodeInfo, ...] = field(repr=False)
    inputs: tuple[int, ...] = ()
    count: int = 1
    path: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what comes out, without the batch."""
        return self.nodes[-1].shape

    @property
    def parameters(self) -> int:
        """Of all nodes together."""
        return sum(node.parameters for node in self.nodes)

    @property
    def multiply_adds(self) -> int:
        """Of all nodes together, for one image."""
        return sum(node.multiply_adds for node in self.nodes)

    @property
    def learns(self) -> str:
        """ "yes", "no", "in part", or "" where there is nothing to learn."""
        states = {node.frozen for node in self.nodes} - {None}
        return {0: "", 1: "no" if True in states else "yes"}.get(len(states), "in part")


def blocks_of(nodes: Sequence[NodeInfo]) -> tuple[Block, ...]:
    """Group the nodes of a network, in the order of the forward pass."""
    opened = _opened(nodes)
    groups = _by_key(nodes, lambda node: _first(node, lambda path, _: path not in opened))
    if not any(group.path for group in groups):
        groups = _by_structure(nodes)
    return _merged(_linked(_folded(groups, nodes)))


def blocks_inside(block: Block) -> tuple[Block, ...]:
    """Group what one repetition of a block consists of, one level deeper; (block,) for a layer."""
    nodes = block.nodes[: len(block.nodes) // block.count]
    if block.path:
        depth = f"{block.path}."

        def inner(path: str, kind: str) -> bool:
            return path.startswith(depth) and kind not in _CONTAINERS

        groups = _by_key(nodes, lambda node: _first(node, inner))
    else:
        groups = [Block(name=n.name, kind=n.layer, nodes=(n,)) for n in nodes]
    named = [replace(b, name=_relative(b.name, block.path)) for b in _folded(groups, nodes)]
    return _linked(named)


def _relative(name: str, path: str) -> str:
    return name.removeprefix(f"{path}.") if path else name


def _opened(nodes: Sequence[NodeInfo]) -> set[str]:
    """Paths of containers, and of modules that hold a sequence of blocks."""
    kinds = {path: kind for node in nodes for path, kind in node.modules}
    opened = {path for path, kind in kinds.items() if kind in _CONTAINERS}
    for container in list(opened):
        members = [p for p in kinds if p.rpartition(".")[0] == container]
        if len(members) >= _MANY:
            steps = container.split(".")
            opened |= {".".join(steps[:i]) for i in range(1, len(steps))}
    return opened


def _first(node: NodeInfo, wanted: Callable[[str, str], bool]) -> tuple[str, str]:
    for path, kind in node.modules:
        if wanted(path, kind):
            return path, kind
    return "", ""


def _by_key(nodes: Sequence[NodeInfo], key: Callable[[NodeInfo], tuple[str, str]]) -> list[Block]:
    groups: list[Block] = []
    for node in nodes:
        path, kind = key(node)
        last = groups[-1] if groups else None
        if path == "":
            groups.append(Block(name=node.name, kind=node.layer, nodes=(node,)))
        elif last is not None and last.path == path:
            groups[-1] = replace(last, nodes=(*last.nodes, node))
        else:
            groups.append(Block(name=path, kind=kind, nodes=(node,), path=path))
    return groups


def _by_structure(nodes: Sequence[NodeInfo]) -> list[Block]:
    position = {node.name: index for index, node in enumerate(nodes)}
    last_use = list(range(len(nodes)))
    for index, node in enumerate(nodes):
        for source in node.inputs:
            if source in position:
                last_use[position[source]] = index
    groups: list[Block] = []
    held: list[NodeInfo] = []
    reach = 0  # the furthest reader of anything before
    for index, node in enumerate(nodes):
        held.append(node)
        if reach <= index:  # nothing passes by
            several = len(held) > 1
            kind = f"block of {len(held)} layers" if several else node.layer
            groups.append(Block(name=node.name, kind=kind, nodes=tuple(held)))
            held = []
        reach = max(reach, last_use[index])
    return groups + [Block(name=node.name, kind=node.layer, nodes=(node,)) for node in held]


def _folded(groups: Iterable[Block], nodes: Sequence[NodeInfo]) -> list[Block]:
    """Join layers that only normalise or bend with the block before."""
    readers: dict[str, int] = {}
    for node in nodes:
        for source in node.inputs:
            readers[source] = readers.get(source, 0) + 1
    folded: list[Block] = []
    for group in groups:
        node, before = group.nodes[0], folded[-1] if folded else None
        if (
            before is not None
            and len(group.nodes) == 1
            and node.layer.startswith(_JOINING)
            and node.inputs == (before.nodes[-1].name,)
            and readers[node.inputs[0]] == 1
        ):
            kind = before.kind if before.path else f"{before.kind} + {node.layer}"
            folded[-1] = replace(before, nodes=(*before.nodes, node), kind=kind)
        else:
            folded.append(group)
    return folded


def _linked(groups: Sequence[Block]) -> tuple[Block, ...]:
    home = {node.name: index for index, group in enumerate(groups) for node in group.nodes}
    return tuple(
        replace(group, inputs=tuple(sorted(_sources(group, index, home))))
        for index, group in enumerate(groups)
    )


def _sources(group: Block, index: int, home: dict[str, int]) -> set[int]:
    found = {home.get(source, -1) for node in group.nodes for source in node.inputs}
    return found - {index}


def _merged(groups: Sequence[Block]) -> tuple[Block, ...]:
    merged: list[Block] = []
    where: dict[int, int] = {}
    read_by: dict[int, set[int]] = {}
    for index, group in enumerate(groups):
        for source in group.inputs:
            read_by.setdefault(source, set()).add(index)
    for index, group in enumerate(groups):
        before = merged[-1] if merged else None
        if before is not None and _repeats(before, group, index, read_by):
            merged[-1] = replace(
                before,
                name=_from_to(before.name.split(" ... ")[0], group.name),
                nodes=(*before.nodes, *group.nodes),
                count=before.count + 1,
            )
        else:
            inputs = tuple(sorted({where.get(source, -1) for source in group.inputs}))
            merged.append(replace(group, inputs=inputs))
        where[index] = len(merged) - 1
    return tuple(merged)


def _from_to(first: str, last: str) -> str:
    """Without what both begin with: "layer1.1 ... 2", "inception4a ... 4c"."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    common = "".join(letter for letter, _ in pairs).rstrip("0123456789")
    return f"{first} ... {last.removeprefix(common)}"


def _repeats(before: Block, group: Block, index: int, read_by: dict[int, set[int]]) -> bool:
    one = len(before.nodes) // before.count
    return (
        group.inputs == (index - 1,)
        and read_by.get(index - 1) == {index}
        and before.kind == group.kind
        and before.shape == group.shape
        and len(group.nodes) == one
        and [node.layer for node in group.nodes] == [node.layer for node in before.nodes[:one]]
        and (not group.path or group.path.rpartition(".")[0] == before.path.rpartition(".")[0])
    )
