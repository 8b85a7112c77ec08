"""Everything a training run depends on, in one frozen value that is also its JSON file.

The ranks read it as JSON from the run directory, so nothing is pickled, a run can be read years
later, and `hilum train --resume` needs no arguments repeated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

from hilum.errors import require
from hilum.inputs import RowSpec
from hilum.models import Architecture
from hilum.models.designs import design_from_json, design_to_json
from hilum.optim import (
    BCEWithLogits,
    Clipping,
    Objective,
    OptimizerSpec,
    Schedule,
    clipping_from_json,
    clipping_to_json,
    loss_from_json,
    loss_to_json,
    optimizer_from_json,
    optimizer_to_json,
    schedule_from_json,
    schedule_to_json,
)
from hilum.preprocessing import Chain
from hilum.training.history import BestMetric, WatchedMetric
from hilum.training.stopping import Stopping
from hilum.training.triggers import Every

__all__ = ["BatchNormMode", "Compression", "Placement", "Precision", "TrainConfig"]

Precision = Literal["auto", "float32", "bfloat16"]
BatchNormMode = Literal["batch", "frozen"]
Compression = Literal["none", "bfloat16"]
Placement = Literal["whole", "part"]

NETWORK = "network"  # the design in JSON

_EVERY_EPOCH, _EVERY_20_STEPS = Every(epochs=1), Every(steps=20)

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "precision": get_args(Precision),
    "batch_norm": get_args(BatchNormMode),
    "best_metric": get_args(BestMetric),
    "watched_metric": get_args(WatchedMetric),
    "gradient_compression": get_args(Compression),
    "placement": get_args(Placement),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run.

    Attributes:
        architecture: what reports call the network: a name `hilum.models.architecture` knows,
            unless there is a design.
        design: how the network is built where its name does not say it.
        outputs: names of the outputs, usually the findings, in label order.
        preprocessing: the whole chain; its prefix is what the cache holds.
        rows: what a network on any columns reads, learns and says; None for findings in images,
            where `outputs` and `preprocessing` say it.
        global_batch_size: images per optimizer step over all ranks; any size is legal.
        precision: "bfloat16" autocasts the forward pass; "auto" does so where the CPU or GPU has
            it in hardware.
        batch_norm: "batch" normalises with each rank's batch, running statistics averaged over
            ranks wherever they are used; "frozen" keeps the statistics the weights came with, and
            makes the loss curve independent of the number of ranks.
        freeze: "" trains everything, "backbone" the head only; a layer's name freezes everything
            up to and including it.
        frozen: names of parameters that never learn, whatever `freeze` and `unfreeze` say.
        unfreeze: (epoch, layer) pairs: from that epoch on only what lies up to the layer is frozen,
            nothing for "".
        feature_variants: augmentation variants whose frozen features are kept, so that later
            epochs cost only the trained part.
        best_metric: what decides which validation's weights become the model.
        watched_metric: what a plateau schedule watches.
        clipping: bounds on the gradient of the global batch.
        ema_decay: of the moving average of the weights, which then is what is validated and kept;
            0 is none.
        stopping: what ends the run before its last epoch.
        validate_every, checkpoint_every, summarise_every: triggers; the run's end is always
            validated and kept.
        keep_checkpoints: how many of the last ones, besides the best.
        gradient_compression: what gradients are rounded to on their way between ranks.
        placement: "whole" keeps all images on every host, "part" a share that changes every epoch.
        compile: run the network through torch.compile.
        histograms: let summaries hold histograms of the parameters.
    """

    architecture: str
    design: Architecture | None = None
    outputs: tuple[str, ...]
    preprocessing: Chain
    rows: RowSpec | None = None
    schedule: Schedule
    optimizer: OptimizerSpec
    loss: Objective = field(default_factory=BCEWithLogits)
    max_epochs: int = 8
    global_batch_size: int = 32
    dropout: float = 0.2
    precision: Precision = "auto"
    batch_norm: BatchNormMode = "batch"
    freeze: str = ""
    frozen: tuple[str, ...] = ()
    unfreeze: tuple[tuple[int, str], ...] = ()
    feature_variants: int = 4
    best_metric: BestMetric = "valid_loss"
    watched_metric: WatchedMetric = "valid_loss"
    clipping: Clipping = field(default_factory=Clipping)
    ema_decay: float = 0.0
    stopping: Stopping = field(default_factory=Stopping)
    validate_every: Every = _EVERY_EPOCH
    checkpoint_every: Every = _EVERY_EPOCH
    summarise_every: Every = _EVERY_20_STEPS
    keep_checkpoints: int = 2
    gradient_compression: Compression = "none"
    placement: Placement = "whole"
    compile: bool = False
    histograms: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "max_epochs",
            "global_batch_size",
            "keep_checkpoints",
            "feature_variants",
        ):
            require(getattr(self, name) > 0, name, "positive", getattr(self, name))
        require(0 <= self.dropout < 1, "dropout", "in [0, 1)", self.dropout)
        require(0 <= self.ema_decay < 1, "ema_decay", "in [0, 1)", self.ema_decay)
        require(len(self.outputs) > 0, "outputs", "at least one name", self.outputs)
        require(self.seed >= 0, "seed", "zero or more", self.seed)
        named = self.design is None or self.design.name == self.architecture
        require(named, "architecture", "the design's name", self.architecture)
        epochs = [epoch for epoch, _ in self.unfreeze]
        rising = epochs == sorted(set(epochs)) and all(epoch > 0 for epoch in epochs)
        require(rising, "unfreeze", "pairs of a rising epoch from 1 and a layer", self.unfreeze)
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            require(value in allowed, name, f"one of {', '.join(allowed)}", value)

    @property
    def blueprint(self) -> Architecture | str:
        """What the functions of `hilum.models` build the network from."""
        return self.design or self.architecture

    @property
    def num_outputs(self) -> int:
        """Numbers that a new head gives for each row."""
        if self.rows is None:
            return len(self.outputs)
        return self.rows.num_outputs

    @property
    def scored_outputs(self) -> tuple[str, ...]:
        """Names of the outputs that have an AUC."""
        return self.outputs if self.rows is None else ()

    @property
    def needs_clock(self) -> bool:
        """Whether ranks must agree on the time in every step."""
        triggers = (self.validate_every, self.checkpoint_every)
        return self.stopping.needs_clock or any(trigger.needs_clock for trigger in triggers)

    def with_max_epochs(self, max_epochs: int) -> "TrainConfig":
        """The same run, longer or shorter."""
        return replace(self, max_epochs=max_epochs)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        del plain["design"], plain["rows"]
        return {
            **plain,
            **({} if self.rows is None else {"rows": self.rows.to_json()}),
            **({} if self.design is None else {NETWORK: design_to_json(self.design)}),
            "outputs": list(self.outputs),
            "preprocessing": self.preprocessing.to_json(),
            "schedule": schedule_to_json(self.schedule),
            "optimizer": optimizer_to_json(self.optimizer),
            "loss": loss_to_json(self.loss),
            "clipping": clipping_to_json(self.clipping),
            "stopping": self.stopping.to_json(),
            "frozen": list(self.frozen),
            "unfreeze": [list(pair) for pair in self.unfreeze],
            **{name: getattr(self, name).to_json() for name in _TRIGGERS},
        }

    @staticmethod
    def from_json(value: Mapping[str, Any], url: str = "") -> "TrainConfig":
        """Read what `to_json` wrote; unknown fields are an error.

        Args:
            url: the run directory, where files of a network lie.
        """
        known = set(TrainConfig.__dataclass_fields__) - {"design"} | {NETWORK}
        unknown = sorted(set(value) - known)
        require(not unknown, "training configuration", f"made of {sorted(known)}", unknown)
        read = dict(value)
        network = read.pop(NETWORK, None)
        read["design"] = None if network is None else design_from_json(network, url)
        for name, reader in _READERS.items():
            if name in read:
                read[name] = reader(read[name])
        return TrainConfig(**cast(Any, read))


_TRIGGERS = ("validate_every", "checkpoint_every", "summarise_every")

_READERS: Mapping[str, Callable[[Any], Any]] = {
    "outputs": tuple,
    "frozen": tuple,
    "rows": RowSpec.from_json,
    "preprocessing": Chain.from_json,
    "schedule": schedule_from_json,
    "optimizer": optimizer_from_json,
    "loss": loss_from_json,
    "clipping": clipping_from_json,
    "stopping": Stopping.from_json,
    "unfreeze": lambda pairs: tuple((epoch, layer) for epoch, layer in pairs),
    **dict.fromkeys(_TRIGGERS, Every.from_json),
}
