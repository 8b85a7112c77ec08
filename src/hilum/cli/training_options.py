"""The options of a training run, declared once for every command that trains.

Each field is an option and stands for one parameter of `NNEstimator`, with the same default; what
is left at its default is not passed on, so that the estimator knows what was asked for.
"""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hilum.cli.options import Epochs, ImageSize, Model, Ranks, Seed, Weights

if TYPE_CHECKING:
    from hilum.training import RetryPolicy

__all__ = ["TrainingOptions"]

NETWORK, LEARNING, LOSS = "Network", "Learning", "Loss"
ENDING, WRITING, MACHINE = "End of the run", "What is written", "Machines"


def _option(name: str, panel: str, meaning: str, **more: Any) -> Any:
    return typer.Option(f"--{name}", help=meaning, rich_help_panel=panel, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What was typed; see `NNEstimator` for what each means in full."""

    model: Model = "efficientnet_lite0"
    weights: Weights = "auto"
    image_size: ImageSize = 0
    dropout: Annotated[float, _option("dropout", NETWORK, "Dropout before the head.")] = 0.2
    batch_norm: Annotated[
        str, _option("batch-norm", NETWORK, "auto, batch or frozen statistics.")
    ] = "auto"
    freeze: Annotated[
        str,
        _option(
            "freeze",
            NETWORK,
            "backbone (train only the new head), or a layer's name: all up to and including it.",
        ),
    ] = ""
    unfreeze: Annotated[
        list[str],
        _option(
            "unfreeze",
            NETWORK,
            "EPOCH:LAYER, from which epoch (from 0) on only what lies up to the layer is frozen; "
            "EPOCH: alone for nothing. May be given several times.",
        ),
    ] = field(default_factory=list)
    feature_variants: Annotated[
        int,
        _option(
            "feature-variants",
            NETWORK,
            "Augmented variants of each image whose frozen features are kept.",
        ),
    ] = 4
    epochs: Epochs = 8
    batch_size: Annotated[
        int, _option("batch-size", LEARNING, "Images per step over all ranks.", min=1)
    ] = 16
    learning_rate: Annotated[float, _option("learning-rate", LEARNING, "Peak learning rate.")] = (
        3e-4
    )
    warmup_epochs: Annotated[
        float, _option("warmup-epochs", LEARNING, "Epochs of linear warm-up.")
    ] = 1.0
    schedule: Annotated[
        str,
        _option("schedule", LEARNING, "After warm-up: a name of `hilum schedule list`, or JSON."),
    ] = "cosine"
    watched_metric: Annotated[
        str,
        _option(
            "watched-metric",
            LEARNING,
            "What plateau schedules watch: valid_loss, train_loss or valid_mean_auroc.",
        ),
    ] = "valid_loss"
    optimizer: Annotated[str, _option("optimizer", LEARNING, "adam, adamw, sgd, lars or lamb.")] = (
        "adamw"
    )
    momentum: Annotated[float, _option("momentum", LEARNING, "Of sgd and lars.")] = 0.9
    nesterov: Annotated[
        bool, _option("nesterov", LEARNING, "Nesterov momentum, of sgd and lars.")
    ] = False
    dampening: Annotated[
        float, _option("dampening", LEARNING, "Dampening of momentum, of sgd and lars.")
    ] = 0.0
    betas: Annotated[
        tuple[float, float],
        _option("betas", LEARNING, "Decay of the moments of adam, adamw, lamb."),
    ] = (0.9, 0.999)
    trust_coefficient: Annotated[float, _option("trust-coefficient", LEARNING, "Of lars.")] = 0.001
    weight_decay: Annotated[
        float, _option("weight-decay", LEARNING, "Of the backbone's weights.")
    ] = 0.01
    head_weight_decay: Annotated[
        float, _option("head-weight-decay", LEARNING, "Of the new head's weights.")
    ] = 0.01
    decay_norms_and_biases: Annotated[
        bool,
        _option("decay-norms-and-biases", LEARNING, "Weight decay for biases and norms, too."),
    ] = False
    head_learning_rate_factor: Annotated[
        float,
        _option(
            "head-learning-rate-factor",
            LEARNING,
            "Learning rate of the head over the backbone's; 0 is 10 on trained weights, else 1.",
        ),
    ] = 0.0
    layer_decay: Annotated[
        float,
        _option(
            "layer-decay", LEARNING, "Learning rate of a block over that of the block after it."
        ),
    ] = 1.0
    layer_rules: Annotated[
        list[str],
        _option(
            "layer-rule",
            LEARNING,
            "PATTERN:lr_factor=NUMBER,weight_decay=NUMBER for parameters with such names. May be "
            "given several times; the first that matches counts.",
        ),
    ] = field(default_factory=list)
    clip_value: Annotated[
        float, _option("clip-value", LEARNING, "Largest element of a gradient; 0 is no limit.")
    ] = 0.0
    clip_norm: Annotated[
        float, _option("clip-norm", LEARNING, "Largest norm of all gradients; 0 is no limit.")
    ] = 0.0
    ema_decay: Annotated[
        float,
        _option("ema-decay", LEARNING, "Moving average of weights, such as 0.999; 0 is none."),
    ] = 0.0
    loss: Annotated[str, _option("loss", LOSS, "bce, focal, asymmetric, or JSON.")] = "bce"
    label_smoothing: Annotated[
        float, _option("label-smoothing", LOSS, "Share of labels replaced by 1/2.")
    ] = 0.0
    pos_weight: Annotated[
        str,
        _option(
            "pos-weight", LOSS, "Of positives: balanced, or a number per finding, commas between."
        ),
    ] = ""
    finding_weights: Annotated[
        str,
        _option(
            "finding-weights", LOSS, "Of findings: balanced, or a number each, commas between."
        ),
    ] = ""
    max_steps: Annotated[int, _option("max-steps", ENDING, "Optimizer steps; 0 is no limit.")] = 0
    max_minutes: Annotated[
        float, _option("max-minutes", ENDING, "Minutes of training; 0 is no limit.")
    ] = 0.0
    target_value: Annotated[
        float,
        _option("target-value", ENDING, "Value of the best metric that is good enough; 0 is none."),
    ] = 0.0
    stop_patience: Annotated[
        int,
        _option("stop-patience", ENDING, "Validations without a better value; 0 is no limit."),
    ] = 0
    stop_min_delta: Annotated[
        float, _option("stop-min-delta", ENDING, "By how much better a value must be to count.")
    ] = 0.0
    best_metric: Annotated[
        str,
        _option(
            "best-metric",
            ENDING,
            "Which weights become the model: lowest valid_loss or highest valid_mean_auroc.",
        ),
    ] = "valid_loss"
    validate_every: Annotated[
        str,
        _option("validate-every", WRITING, 'Such as "epoch", "500 steps", "10 minutes".'),
    ] = "epoch"
    checkpoint_every: Annotated[
        str, _option("checkpoint-every", WRITING, "Restart points, likewise.")
    ] = "epoch"
    summarise_every: Annotated[
        str, _option("summarise-every", WRITING, "Loss, throughput and learning rate, likewise.")
    ] = "20 steps"
    keep_checkpoints: Annotated[
        int, _option("keep-checkpoints", WRITING, "Restart points kept besides the best.")
    ] = 2
    histograms: Annotated[
        bool, _option("histograms", WRITING, "Histograms of the parameters, too.")
    ] = False
    mlflow: Annotated[
        str, _option("mlflow", WRITING, "Address of an MLflow tracking server to log to.")
    ] = ""
    ranks: Ranks = 0
    cache: Annotated[
        str, _option("cache", MACHINE, "Directory of pixel caches to share between runs.")
    ] = ""
    placement: Annotated[
        str,
        _option("placement", MACHINE, "whole: every host has all images; part: a changing share."),
    ] = "whole"
    precision: Annotated[str, _option("precision", MACHINE, "float32, bfloat16, or auto.")] = "auto"
    compile_network: Annotated[
        bool, _option("compile", MACHINE, "Run the network through torch.compile.")
    ] = False
    gradient_compression: Annotated[
        str,
        _option("gradient-compression", MACHINE, "none or bfloat16, between ranks."),
    ] = "none"
    max_retries: Annotated[
        int,
        _option(
            "max-retries", MACHINE, "Restarts after lost ranks without progress in between.", min=0
        ),
    ] = 3
    hang_timeout: Annotated[
        float,
        _option("hang-timeout", MACHINE, "Seconds after which a rank that stands still is lost."),
    ] = 300.0
    executor_wait: Annotated[
        float,
        _option("executor-wait", MACHINE, "Seconds that a lost executor may take to come back."),
    ] = 60.0
    seed: Seed = 0

    def retry_policy(self) -> "RetryPolicy":
        """What to do when a rank is lost; the one part of a run that a resume may change."""
        from hilum.training import RetryPolicy

        return RetryPolicy(
            max_retries=self.max_retries,
            hang_timeout_s=self.hang_timeout,
            executor_wait_s=self.executor_wait,
        )

    def settled(self) -> list[str]:
        """Names of parameters given that belong to a run and cannot change when it is resumed."""
        return sorted(set(self.params()) - _MAY_CHANGE)

    def params(self) -> dict[str, Any]:
        """Parameters of `NNEstimator` that differ from its defaults, by name."""
        plain = TrainingOptions()
        return {
            _param_name(option.name): value
            for option in fields(self)
            if (value := getattr(self, option.name)) != getattr(plain, option.name)
        }


_MAY_CHANGE = {"numRanks", "maxRetries", "hangTimeout", "executorWait"}

_OTHER_NAMES = {
    "epochs": "maxEpochs",
    "ranks": "numRanks",
    "cache": "cacheDir",
    "compile_network": "compile",
}


def _param_name(option: str) -> str:
    first, *rest = option.split("_")
    return _OTHER_NAMES.get(option, first + "".join(word.capitalize() for word in rest))
