"""Checkpoints: weights and optimizer state as safetensors behind a JSON pointer.

    RUN/checkpoints/epoch-0003-<id>.safetensors   tensors: model.*, optimizer.*
    RUN/checkpoints/last.json, best.json          pointer: file, SHA-256, history, config

A checkpoint exists once its pointer names it; files no pointer names are deleted. Nothing here
is ever unpickled.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.optim import Optimizer

from hilum import storage
from hilum.errors import ChecksumError
from hilum.training.history import BestMetric, History

__all__ = ["Checkpoint", "load_checkpoint", "restore_optimizer", "save_checkpoint"]

Which = Literal["last", "best"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A restart point at the end of an epoch: weights, optimizer state and the history so far."""

    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    history: History


def save_checkpoint(
    run_directory: str,
    weights: Mapping[str, Tensor],
    optimizer: Optimizer,
    history: History,
    best_metric: BestMetric = "valid_loss",
) -> None:
    """Publish the state after the history's last epoch as `last`, and as `best` if it is."""
    directory = storage.join(run_directory, "checkpoints")
    tensors = {f"model.{name}": value for name, value in weights.items()}
    tensors |= {f"optimizer.{name}": value for name, value in _optimizer_tensors(optimizer).items()}
    # Plain contiguous copies: safetensors refuses channels_last strides and shared storage.
    data = save_tensors(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    )
    name = f"epoch-{len(history) - 1:04d}-{uuid.uuid4().hex[:8]}.safetensors"
    storage.write_bytes(storage.join(directory, name), data)
    pointer = {"file": name, "sha256": storage.sha256_of(data), "history": history.to_json()}
    storage.write_json(storage.join(directory, "last.json"), pointer)
    if history.best(best_metric) == history.epochs[-1]:
        storage.write_json(storage.join(directory, "best.json"), pointer)
    _delete_unnamed(directory)


def load_checkpoint(run_directory: str, which: Which = "last") -> Checkpoint | None:
    """Read a checkpoint, or None if there is none yet.

    Raises:
        ChecksumError: the file is missing or damaged.
    """
    directory = storage.join(run_directory, "checkpoints")
    pointer_url = storage.join(directory, f"{which}.json")
    if not storage.exists(pointer_url):
        return None
    pointer = storage.read_json(pointer_url)
    url = storage.join(directory, pointer["file"])
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        data = b""
    if storage.sha256_of(data) != pointer["sha256"]:
        raise ChecksumError(
            f"checkpoint {url} must have SHA-256 {pointer['sha256']}. "
            f"Got {storage.sha256_of(data) if data else 'no such file'}. "
            "Hint: the file was cut or changed; delete the checkpoints directory to start afresh."
        )
    tensors = load_tensors(data)
    return Checkpoint(
        weights=_with_prefix(tensors, "model."),
        optimizer=_with_prefix(tensors, "optimizer."),
        history=History.from_json(pointer["history"]),
    )


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load what `save_checkpoint` wrote into a fresh optimizer of the same groups."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        position, key = name.split(".", 1)
        state.setdefault(int(position), {})[key] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    # Learning rates are not stored: the schedule recomputes them from step and history.
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {
        f"{position}.{key}": value
        for position, entries in state.items()
        for key, value in entries.items()
        if isinstance(value, Tensor)
    }


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}


def _delete_unnamed(directory: str) -> None:
    names = storage.list_names(directory)
    pointers = [name for name in names if name.endswith(".json") and not name.startswith(".")]
    named = {storage.read_json(storage.join(directory, name))["file"] for name in pointers}
    for name in names:
        if name.endswith(".safetensors") and name not in named:
            storage.delete_tree(storage.join(directory, name))
