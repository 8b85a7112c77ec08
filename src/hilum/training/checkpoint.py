"""Checkpoints: restart points of a run as safetensors behind small JSON manifests.

    RUN/checkpoints/step-00001234-<id>.safetensors  tensors: model.*, average.*, optimizer.*
    RUN/checkpoints/step-00001234.json              file, SHA-256, position, history, totals
    RUN/checkpoints/best.json                       the same, of the best validation

A checkpoint exists once its manifest names it; files no manifest names are deleted. Reading falls
back to the one before where the newest is damaged. Nothing here is ever unpickled.
"""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from safetensors.torch import load as load_tensors
from torch import Tensor
from torch.optim import Optimizer

from hilum import storage
from hilum.errors import ChecksumError
from hilum.training.history import History
from hilum.training.tensor_file import tensor_pieces

__all__ = [
    "Checkpoint",
    "carry_state",
    "checkpointed_step",
    "load_checkpoint",
    "optimizer_state",
    "restore_optimizer",
    "write_checkpoint",
]

Which = Literal["last", "best"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All a run needs to go on as if nothing had happened.

    Attributes:
        weights: state of the network. average: of its moving average; empty without one.
        optimizer: tensors by "position.key". group_state: other state by "group.key".
        step: optimizer steps done.
        totals: (summed loss, known labels) of all ranks since the last record.
        trained_s, images: seconds and images since the last record, validation not counted.
        seconds: time trained over all restarts.
        computed_in: "float32" or "bfloat16", what the ranks agreed on.
    """

    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] = field(default_factory=dict)
    optimizer: Mapping[str, Tensor]
    group_state: Mapping[str, float] = field(default_factory=dict)
    history: History
    step: int
    totals: tuple[float, float] = (0.0, 0.0)
    trained_s: float = 0.0
    images: int = 0
    seconds: float = 0.0
    computed_in: str = "float32"

    @property
    def kept_weights(self) -> Mapping[str, Tensor]:
        """The weights that were validated: the average where there is one."""
        return self.average or self.weights

    def facts(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        names = ("step", "trained_s", "images", "seconds", "computed_in")
        return {
            **{name: getattr(self, name) for name in names},
            "totals": list(self.totals),
            "group_state": dict(self.group_state),
            "history": self.history.to_json(),
        }


def write_checkpoint(
    run_directory: str, checkpoint: Checkpoint, *, is_best: bool, keep: int
) -> None:
    """Publish a checkpoint, and delete all but the last `keep` and the best.

    Args:
        checkpoint: tensors contiguous in memory, on the CPU.
    """
    directory = _directory(run_directory)
    parts = {
        "model": checkpoint.weights,
        "average": checkpoint.average,
        "optimizer": checkpoint.optimizer,
    }
    tensors = {f"{part}.{n}": value for part, named in parts.items() for n, value in named.items()}
    stem = f"step-{checkpoint.step:08d}"
    name = f"{stem}-{uuid.uuid4().hex[:8]}.safetensors"
    sha256 = storage.write_pieces(storage.join(directory, name), tensor_pieces(tensors))
    manifest = {"file": name, "sha256": sha256, **checkpoint.facts()}
    storage.write_json(storage.join(directory, f"{stem}.json"), manifest)
    if is_best:
        storage.write_json(storage.join(directory, "best.json"), manifest)
    _prune(directory, checkpoint.step, keep)


def load_checkpoint(run_directory: str, which: Which = "last") -> Checkpoint | None:
    """Read a checkpoint, or None if there is none yet.

    A damaged one is passed over with a warning in favour of the one before; a damaged best one
    in favour of the newest that is whole.

    Raises:
        ChecksumError: there are checkpoints, and not one of them is whole.
    """
    directory = _directory(run_directory)
    names = [f"{stem}.json" for stem in _stems(directory)][::-1]
    if which == "best" and storage.exists(storage.join(directory, "best.json")):
        names.insert(0, "best.json")
    problems = []
    for name in names:
        try:
            return _read(directory, name)
        except (ChecksumError, ValueError, KeyError, FileNotFoundError) as error:
            problems.append(f"{name}: {error}")
            logger.warning("checkpoint passed over: %s: %s", name, error)
    if problems:
        raise ChecksumError(
            f"at least one checkpoint in {directory} must be whole. Got {'; '.join(problems)}. "
            "Hint: delete the checkpoints directory to train from the start."
        )
    return None


def checkpointed_step(run_directory: str) -> int:
    """Optimizer steps that the newest checkpoint has done; 0 without one. Reads only its name."""
    stems = _stems(_directory(run_directory))
    return int(stems[-1].removeprefix("step-")) if stems else 0


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Tensors by "position.key", and the counters some optimizers keep in their groups.

    Learning rates are not state: the schedule computes them from step and history.
    """
    whole = optimizer.state_dict()
    tensors = {
        f"{position}.{key}": value
        for position, entries in whole["state"].items()
        for key, value in entries.items()
        if isinstance(value, Tensor)
    }
    counters = {
        f"{position}.step": float(group["step"])
        for position, group in enumerate(whole["param_groups"])
        if "step" in group
    }
    return tensors, counters


def restore_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], group_state: Mapping[str, float]
) -> None:
    """Load what `optimizer_state` returned into a fresh optimizer of the same groups."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        position, key = name.split(".", 1)
        state.setdefault(int(position), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    for name, count in group_state.items():
        position, key = name.split(".", 1)
        groups[int(position)][key] = int(count)
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def carry_state(before: Optimizer, after: Optimizer) -> None:
    """Give a new optimizer the state the old one had of the parameters both train."""
    after.state.update(
        {
            parameter: before.state[parameter]
            for group in after.param_groups
            for parameter in group["params"]
            if parameter in before.state
        }
    )
    counters = {g["name"]: g["step"] for g in before.param_groups if "step" in g and "name" in g}
    for group in after.param_groups:
        if group.get("name") in counters:
            group["step"] = counters[group["name"]]


def _directory(run_directory: str) -> str:
    return storage.join(run_directory, "checkpoints")


def _stems(directory: str) -> list[str]:
    """Names of all checkpoints without their ending, oldest first."""
    names = storage.list_names(directory)
    return [n.removesuffix(".json") for n in names if n.startswith("step-") and n.endswith(".json")]


def _read(directory: str, name: str) -> Checkpoint:
    manifest = storage.read_json(storage.join(directory, name))
    data = storage.read_bytes(storage.join(directory, manifest["file"]))
    digest = storage.sha256_of(data)
    if digest != manifest["sha256"]:
        raise ChecksumError(
            f"{manifest['file']} must have SHA-256 {manifest['sha256']}. Got {digest}. "
            "Hint: the file was cut or changed."
        )
    tensors = load_tensors(data)
    return Checkpoint(
        weights=_with_prefix(tensors, "model."),
        average=_with_prefix(tensors, "average."),
        optimizer=_with_prefix(tensors, "optimizer."),
        history=History.from_json(manifest["history"]),
        totals=(manifest["totals"][0], manifest["totals"][1]),
        group_state=manifest["group_state"],
        step=manifest["step"],
        trained_s=manifest["trained_s"],
        images=manifest["images"],
        seconds=manifest["seconds"],
        computed_in=manifest["computed_in"],
    )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}


def _prune(directory: str, step: int, keep: int) -> None:
    """Keep the last checkpoints up to `step`, and the best.

    One of a later step is of a former attempt that this run went back behind.
    """
    current = f"step-{step:08d}"
    stems = _stems(directory)
    kept = [stem for stem in stems if stem <= current][-keep:]
    for stem in sorted(set(stems) - set(kept)):
        storage.delete_tree(storage.join(directory, f"{stem}.json"))
    manifests = [f"{stem}.json" for stem in kept]
    if storage.exists(storage.join(directory, "best.json")):
        manifests.append("best.json")
    named = {storage.read_json(storage.join(directory, name))["file"] for name in manifests}
    for name in storage.list_names(directory):
        if name.endswith(".safetensors") and name not in named:
            storage.delete_tree(storage.join(directory, name))
