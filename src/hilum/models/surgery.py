"""Surgery on a loaded network: its nodes by name, a part of it, what in it may learn.

2019's `new_graph` cut the old graph's edges and shared its tensors; here the part is a copy and the
original stays whole. 2019's `freeze_up_to` let backward run and statistics move; here frozen is
what `hilum.models.freezing` means by it. Nodes go by their own names and by those of 2019.
"""

from collections.abc import Iterable, Mapping

from torch import fx, nn

from hilum.errors import require
from hilum.models.cutting import cut
from hilum.models.inspection import NodeInfo, nodes
from hilum.models.named_nodes import named_graph
from hilum.models.node_names import names_of_2019
from hilum.models.pictures import node_table, picture_svg, picture_text
from hilum.models.recipes import LoadedModel, library_name
from hilum.models.transfer_start import TransferStart, transfer

__all__ = [
    "NodeInfo",
    "TransferStart",
    "cut",
    "freeze",
    "node_table",
    "nodes",
    "picture_svg",
    "picture_text",
    "transfer",
    "unfreeze",
]


def freeze(
    model: LoadedModel | nn.Module,
    *,
    up_to: str | Iterable[str] = (),
    names: str | Iterable[str] = (),
) -> tuple[str, ...]:
    """Freeze layers, in place; what was frozen before stays frozen.

    Frozen is `requires_grad` of the parameters. Train with `set_train_mode(network)` in place of
    `network.train()`: then frozen layers keep their statistics, too.

    Args:
        model: a loaded network or the module alone.
        up_to: nodes; everything their values depend on is frozen, they included (2019's
            `freeze_up_to`).
        names: nodes or modules; these alone are frozen.

    Returns:
        Names of the parameters that are frozen by this.

    Raises:
        InvalidValueError: no such node, neither argument, or nothing with parameters.
    """
    ends, alone = _listed(up_to), _listed(names)
    require(bool(ends or alone), "up_to or names", "one name or more", (ends, alone))
    network, aliases = _network_of(model)
    chosen = dict.fromkeys(_parameters_of(network, aliases, alone))
    if ends:
        named = named_graph(network, aliases)
        for node in named.needed_for(named.find(name) for name in ends):
            chosen |= dict.fromkeys(_parameters_at(network, node))
    require(bool(chosen), "up_to or names", "layers with parameters", (ends, alone))
    return _set_learning(network, chosen, learns=False)


def unfreeze(
    model: LoadedModel | nn.Module, names: str | Iterable[str] | None = None
) -> tuple[str, ...]:
    """Let layers learn, in place.

    Args:
        model: a loaded network or the module alone.
        names: nodes or modules; None for all.

    Returns:
        Names of the parameters that learn by this.

    Raises:
        InvalidValueError: no such node, or one without parameters.
    """
    network, aliases = _network_of(model)
    if names is None:
        return _set_learning(network, [name for name, _ in network.named_parameters()], learns=True)
    chosen = dict.fromkeys(_parameters_of(network, aliases, _listed(names)))
    return _set_learning(network, chosen, learns=True)


def _listed(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _network_of(model: LoadedModel | nn.Module) -> tuple[nn.Module, Mapping[str, str]]:
    if isinstance(model, LoadedModel):
        return model.network, names_of_2019(library_name(model.recipe))
    return model, {}


def _parameters_of(
    network: nn.Module, aliases: Mapping[str, str], names: Iterable[str]
) -> list[str]:
    """Parameters of modules and nodes; the forward pass is followed only where it must be."""
    modules, named, found = dict(network.named_modules()), None, list[str]()
    for name in names:
        path = next((n for n in (name, aliases.get(name, "")) if n and n in modules), None)
        if path is not None:
            own = [f"{path}.{parameter}" for parameter, _ in modules[path].named_parameters()]
        else:
            named = named or named_graph(network, aliases)
            own = _parameters_at(network, named.find(name))
        require(bool(own), "names", "layers with parameters", name, hint="up_to takes any node")
        found += own
    return found


def _parameters_at(network: nn.Module, node: fx.Node) -> list[str]:
    if node.op == "call_module":
        layer = network.get_submodule(str(node.target))
        return [f"{node.target}.{name}" for name, _ in layer.named_parameters()]
    if node.op == "get_attr":
        return [name for name, _ in network.named_parameters() if name == node.target]
    return []


def _set_learning(network: nn.Module, names: Iterable[str], *, learns: bool) -> tuple[str, ...]:
    # Under the names that are in use for tensors shared between layers.
    tensors = {name: p for name, p in network.named_parameters(remove_duplicate=False)}
    chosen = set(names)
    changed = [n for n, p in tensors.items() if n in chosen and p.requires_grad is not learns]
    for name in changed:
        tensors[name].requires_grad_(learns)
    return tuple(changed)
