"""PyTorch's operators that move numbers about without changing them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hilum.errors import InvalidValueError, require
from hilum.models.graph.spec import Option
from hilum.models.roads.arithmetic_nodes import reshape
from hilum.models.roads.aten_site import AtenSite
from hilum.models.roads.tracing import Flow

__all__ = ["MOVES"]

_END = 1 << 30


def _same(site: AtenSite) -> Flow:
    return site.flow()


def _flatten(site: AtenSite) -> Flow:
    flow = site.flow("self")
    start, rank = site.axis("start_dim", 0, flow), flow.rank()
    end = site.integer("end_dim", -1)
    last = end == -1 or (rank is not None and end == rank - 1)
    require(start > 0 and last, f"dimensions of {site.name!r}", "1 to the last", (start, end))
    if start == 1:
        return site.add("Flatten")
    return site.add("Flatten", options={"start_dim": start})


def _permute(site: AtenSite) -> Flow:
    flow = site.flow("self")
    dims, rank = site.integers("dims"), flow.rank() or 0
    turned = [int(n or 0) + (rank if (n or 0) < 0 else 0) for n in dims]
    right = sorted(turned) == list(range(len(turned))) and turned[:1] == [0]
    require(right, f"dims of {site.name!r}", "each once, the batch first", dims)
    return site.add("Permute", options={"dims": turned})


def _transpose(site: AtenSite) -> Flow:
    flow = site.flow("self")
    rank = flow.rank()
    require(rank is not None, f"rank before {site.name!r}", "known", rank)
    first, second = site.axis("dim0", 0, flow), site.axis("dim1", 1, flow)
    right = 0 < first < (rank or 0) and 0 < second < (rank or 0)
    require(right, f"dimensions of {site.name!r}", "other than the batch", (first, second))
    dims = list(range(rank or 0))
    dims[first], dims[second] = dims[second], dims[first]
    return site.add("Permute", options={"dims": dims})


def _squeeze(site: AtenSite) -> Flow:
    flow, dims = site.flow("self"), site.integers("dim")
    rank = flow.rank()
    turned = [int(n or 0) + (rank if rank and (n or 0) < 0 else 0) for n in dims]
    right = bool(turned) and all(dim > 0 for dim in turned)
    require(right, f"dim of {site.name!r}", "given, other than the batch", dims)
    return site.add("Squeeze", options={"dims": turned})


def _unsqueeze(site: AtenSite) -> Flow:
    flow = site.flow("self")
    shape, dim = flow.shape, site.integer("dim", -1)
    if shape is None or any(size is None for size in shape[1:]):
        raise InvalidValueError(
            f"shape before {site.name!r} must be known. Got {shape}. "
            "Hint: export the network with a fixed height and width."
        )
    dim = dim + len(shape) + 1 if dim < 0 else dim
    require(0 < dim <= len(shape), f"dim of {site.name!r}", "other than the batch", dim)
    wanted = [*shape[1:dim], 1, *shape[dim:]]
    return reshape(site.tracer, site.name, flow, [None, *wanted], site.batch)


def _pad(site: AtenSite) -> Flow:
    mode = site.get("mode", "constant")
    require(mode == "constant", f"mode of {site.name!r}", "constant", mode)
    pads = site.integers("pad")
    right = len(pads) % 2 == 0 and all(n is not None and abs(n) < 1 << 20 for n in pads)
    require(right and len(pads) <= 6, f"pad of {site.name!r}", "two per dimension", pads)
    widths = tuple(int(n or 0) for n in pads)
    return site.add("Pad", options={"padding": widths, "value": site.number("value", 0.0)})


def _slice(site: AtenSite) -> Flow:
    flow = site.flow("self")
    dim = site.axis("dim", 0, flow)
    start, end, step = site.integer("start", 0), site.get("end"), site.integer("step", 1)
    whole = start == 0 and step == 1 and (end is None or end > _END)
    if whole:
        return flow
    require(dim > 0, f"dim of {site.name!r}", "other than the batch", dim)
    require(end is None or type(end) is int, f"end of {site.name!r}", "a whole number", end)
    options: dict[str, Option] = {
        "dim": dim,
        "start": start,
        "end": None if end is None or end > _END else end,
        "step": step,
    }
    return site.add("Slice", options=options)


def _select_channels(site: AtenSite, sizes: list[int]) -> list[Flow]:
    flow = site.flow("self")
    dim = site.axis("dim", 0, flow)
    require(dim > 0, f"dim of {site.name!r}", "other than the batch", dim)
    flows, start = [], 0
    for number, size in enumerate(sizes):
        options: dict[str, Option] = {"dim": dim, "start": start, "end": start + size}
        flows.append(site.add("Slice", options=options, part=str(number)))
        start += size
    return flows


def _whole(site: AtenSite) -> int:
    flow = site.flow("self")
    dim = site.axis("dim", 0, flow)
    size = None if flow.shape is None or dim >= len(flow.shape) else flow.shape[dim]
    require(size is not None, f"size before {site.name!r}", "known", flow.shape)
    return int(size or 0)


def _chunk(site: AtenSite) -> list[Flow]:
    whole, count = _whole(site), site.integer("chunks", 1)
    require(0 < count <= 1 << 12, f"chunks of {site.name!r}", "a few", count)
    return _parts(site, whole, -(-whole // count))


def _split(site: AtenSite) -> list[Flow]:
    sizes = site.get("split_sizes")
    if sizes is None and isinstance(site.get("split_size"), list):
        sizes = site.get("split_size")
    if isinstance(sizes, list):
        right = len(sizes) < 1 << 12 and all(type(n) is int and n >= 0 for n in sizes)
        require(right, f"sizes of {site.name!r}", "whole numbers", sizes)
        return _select_channels(site, sizes)
    return _parts(site, _whole(site), site.integer("split_size", 1))


def _parts(site: AtenSite, whole: int, each: int) -> list[Flow]:
    require(each > 0 and whole // each < 1 << 12, f"parts of {site.name!r}", "a few", whole)
    return _select_channels(site, [min(each, whole - at) for at in range(0, whole, each)])


def _upsample(site: AtenSite) -> Flow:
    factors = site.get("scale_factors")
    right = isinstance(factors, list) and all(isinstance(f, int | float) for f in factors)
    require(right and len(factors) == 2, f"{site.operator} at {site.name!r}", "by factors", factors)
    options: dict[str, Option] = {"scale_factor": tuple(map(float, factors))}
    if "bilinear" in site.operator:
        corners = site.flag("align_corners")
        return site.add(
            "Upsample", options={**options, "mode": "bilinear", "align_corners": corners}
        )
    return site.add("Upsample", options={**options, "mode": "nearest"})


MOVES: Mapping[str, Callable[[AtenSite], Flow | list[Flow]]] = MappingProxyType(
    {
        "_to_copy": _same,
        "alias": _same,
        "chunk": _chunk,
        "clone": _same,
        "constant_pad_nd": _pad,
        "contiguous": _same,
        "detach": _same,
        "flatten": _flatten,
        "pad": _pad,
        "permute": _permute,
        "slice": _slice,
        "split": _split,
        "split_with_sizes": _split,
        "squeeze": _squeeze,
        "to": _same,
        "transpose": _transpose,
        "unsqueeze": _unsqueeze,
        "upsample_bilinear2d": _upsample,
        "upsample_nearest2d": _upsample,
    }
)
"""Operators by their names; some give several values."""
