"""How the tensors of a weights file find their places in a network, and the report about it.

Transfer learning decides the accuracy of a run, so nothing here is silent: a tensor without a
place, or a place without a tensor, stands in the `WeightsReport`, and a gap in the backbone is an
error. Files are never unpickled freely: safetensors, or `torch.load` with `weights_only=True`.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from hilum.errors import InvalidValueError, require
from hilum.models.published import sha256_of_file

__all__ = ["WeightsReport", "load_backbone", "read_tensors", "tensor_bytes"]

SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsReport:
    """What a network started from; written into the bundle's provenance.

    Attributes:
        source: the address, package or file; empty for a random start.
        kind: "published", "file" or "random".
        loaded: number of tensors taken from the source.
        missing: tensors of the network the source lacks: the new head, and BatchNorm step counters
            in files older than PyTorch 0.4.1.
        unexpected: tensors of the source without a place: its own head, auxiliary classifiers.
        mismatched: tensors of the head that exist on both sides in different shapes.
        sha256: of the source's bytes; empty for a random start.
        note: anything a reader of the report should know, such as why the start is random.
    """

    source: str
    kind: Literal["published", "file", "random"]
    loaded: int = 0
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    sha256: str = ""
    note: str = ""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a .pth, .pt or .safetensors file, on the CPU.

    Checkpoints that keep them under "state_dict" or "model", or whose names all begin with the
    "module." of DistributedDataParallel, are understood.

    Raises:
        InvalidValueError: no such file, another suffix, or anything but a table of tensors.
    """
    require(
        path.suffix in SUFFIXES, "weights", f"a file ending in {', '.join(SUFFIXES)}", str(path)
    )
    require(path.is_file(), "weights", "an existing file", str(path))
    try:
        content: object = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    # What torch.load raises depends on where the bytes stop making sense; it may be anything.
    except Exception as error:
        first = (str(error).splitlines() or [repr(error)])[0]
        raise InvalidValueError(
            f"weights must be a readable file of tensors. Got {str(path)!r}: "
            f"{first} Hint: {_HOW_TO_SAVE}"
        ) from error
    tensors = _table_in(content)
    require(bool(tensors), "weights", "a table of named tensors", str(path), hint=_HOW_TO_SAVE)
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def tensor_bytes(tensors: Mapping[str, Tensor], texts: Mapping[str, str] | None = None) -> bytes:
    """Named tensors as the bytes of a safetensors file.

    Tied weights are written under each of their names: the format refuses tensors that share
    memory, and whoever builds the network ties them again.

    Args:
        texts: what else the file's header says.
    """
    written: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        start = own.untyped_storage().data_ptr()
        written[name] = own.clone() if start in seen else own
        seen.add(start)
    return safetensors.torch.save(written, metadata=None if texts is None else dict(texts))


_HOW_TO_SAVE = "save model.state_dict() with torch.save or safetensors.torch.save_file"


def _table_in(content: object) -> dict[str, Tensor]:
    """Return the table of tensors, empty if there is none."""
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if isinstance(content, dict) and all(isinstance(v, Tensor) for v in content.values()):
        return dict(content)
    return {}


def load_backbone(
    model: nn.Module,
    path: Path,
    *,
    head_names: Collection[str],
    source: str,
    kind: Literal["published", "file"],
) -> WeightsReport:
    """Copy a file's tensors into a network, all of the backbone or nothing.

    The head is copied only if the file holds it under the same names and shapes; then its outputs
    mean what they meant to whoever saved them, which a file of bare tensors cannot say.

    Raises:
        InvalidValueError: a backbone tensor is absent from the file or has another shape.
    """
    own = model.state_dict()
    tensors, note = _with_names_of(read_tensors(path), own, head_names)
    differing = [n for n in own if n in tensors and tensors[n].shape != own[n].shape]
    head_fits = all(n in tensors and n not in differing for n in head_names)
    skipped = [] if head_fits else [n for n in head_names if n in tensors]
    missing = tuple(n for n in own if n not in tensors)
    # Only BatchNorm with momentum=None reads its step counter; PyTorch itself fills it with 0.
    absent = [n for n in missing if n not in head_names and not n.endswith(".num_batches_tracked")]
    _refuse_gaps(path, absent, [n for n in differing if n not in head_names])
    chosen = {n: t for n, t in tensors.items() if n in own and n not in skipped}
    model.load_state_dict(chosen, strict=False)
    return WeightsReport(
        source=source,
        kind=kind,
        loaded=len(chosen),
        missing=missing,
        unexpected=tuple(n for n in tensors if n not in own),
        mismatched=tuple(skipped),
        sha256=sha256_of_file(path),
        note=note,
    )


def _refuse_gaps(path: Path, absent: list[str], differing: list[str]) -> None:
    def some(names: list[str]) -> str:
        return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")

    require(
        not absent and not differing,
        "weights",
        "a file with every tensor of the architecture's backbone",
        str(path),
        hint=f"{len(absent)} absent ({some(absent)}), {len(differing)} of another shape "
        f"({some(differing)}); is it a file of this architecture?",
    )


# torchvision's DenseNet files still carry the layer names of PyTorch 0.3, "norm.1" for "norm1"
# (torchvision/models/densenet.py, _load_state_dict).
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


def _with_names_of(
    tensors: dict[str, Tensor], own: Mapping[str, Tensor], head_names: Collection[str]
) -> tuple[dict[str, Tensor], str]:
    """Give tensors the network's names: its own, torchvision's old ones, or by order.

    By order serves files of another implementation of the same network, such as the
    EfficientNet-Lite0 package: no name in common, the same number of tensors, and every one of
    them of the same shape as its counterpart (the head excepted).
    """
    renamed = {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in tensors.items()}
    if len(renamed) != len(own) or any(name in own for name in renamed):
        return renamed, ""
    pairs = list(zip(own.items(), renamed.items(), strict=True))
    if any(
        name not in head_names and place.shape != tensor.shape
        for (name, place), (_, tensor) in pairs
    ):
        return renamed, ""
    # The file's own head keeps its name: under ours it would look like a head of our making.
    by_order = {
        their if name in head_names else name: tensor for (name, _), (their, tensor) in pairs
    }
    return by_order, "no names in common with the source; matched by order, every shape checked"
