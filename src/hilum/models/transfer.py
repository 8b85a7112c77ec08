"""Transfer learning: a network that has learnt on other pictures, with a new head for the findings.

The last linear layer gives way to dropout and a linear layer with one output (a logit) per finding;
everything before it, the backbone, starts from published weights, a file, or random numbers. What
it started from is returned beside the network, because a run that silently began at random looks
like any other until its AUC comes in. No function here touches the global random generator.
"""

import logging
from pathlib import Path

import torch
from torch import nn

from hilum.errors import InvalidValueError, MissingDependencyError, require
from hilum.models.architectures import Architecture
from hilum.models.architectures import architecture as find_architecture
from hilum.models.initialisation import global_generator_kept, random_parameters_zero
from hilum.models.weights import WeightsReport, load_backbone

__all__ = ["build_classifier", "create_model", "head_names", "new_classifier"]

_logger = logging.getLogger(__name__)


def build_classifier(
    architecture: Architecture | str,
    num_outputs: int,
    *,
    weights: str | Path = "auto",
    dropout: float = 0.2,
    seed: int = 0,
) -> tuple[nn.Module, WeightsReport]:
    """Build a network ready for training, and the report of what it starts from.

    Args:
        architecture: an architecture or its name.
        num_outputs: logits per image, one per finding.
        weights: "published"; "random"; "auto", which is published weights where they can be had
            and otherwise a random start with a warning; or the path of a .pth, .pt or
            .safetensors file of the same architecture.
        dropout: probability of dropping a feature before the head; the paper used 0.2.
        seed: of the head, and of everything in a random start.

    Returns:
        The network, which maps (N, 3, H, W) to logits (N, num_outputs), in training mode.

    Raises:
        InvalidValueError: an argument breaks its rule, or a file does not fit the architecture.
        MissingDependencyError: `weights="published"` and they cannot be had; timm is missing.
        ChecksumError: a file kept from an earlier download is damaged.
    """
    design = find_architecture(architecture)
    if weights == "random":
        return _random_start(design, num_outputs, dropout, seed, note="")
    try:
        path, source = _locate(design, weights)
    except MissingDependencyError as error:
        if weights != "auto":
            raise
        _logger.warning("%s starts from random weights. %s", design.name, error)
        return _random_start(design, num_outputs, dropout, seed, note=str(error))
    model = new_classifier(design, num_outputs, dropout=dropout, seed=seed)
    report = load_backbone(
        model,
        path,
        head_names=head_names(design),
        source=source,
        kind="published" if weights in ("auto", "published") else "file",
    )
    _logger.info("loaded weights source=%s tensors=%d", report.source, report.loaded)
    return model, report


def create_model(
    architecture: Architecture | str, num_outputs: int, *, dropout: float = 0.2
) -> nn.Module:
    """Build the network of `build_classifier` with zeros for a state dict to replace.

    The names of its tensors are the same in every process. No time goes into random numbers
    (VGG-16 takes a fifth of the time).
    """
    design = find_architecture(architecture)
    with random_parameters_zero():
        return _with_new_head(design, num_outputs, dropout)


def new_classifier(
    architecture: Architecture | str, num_outputs: int, *, dropout: float = 0.2, seed: int = 0
) -> nn.Module:
    """As `create_model`, with the head that a run with this seed starts from."""
    design = find_architecture(architecture)
    model = create_model(design, num_outputs, dropout=dropout)
    _initialise_head(model, design, seed)
    return model


def head_names(architecture: Architecture | str) -> tuple[str, ...]:
    """Return the parameter names of the new head, its weight and its bias; () if it has none."""
    design = find_architecture(architecture)
    if not design.head:
        return ()
    return (f"{design.head}.1.weight", f"{design.head}.1.bias")


def _locate(design: Architecture, weights: str | Path) -> tuple[Path, str]:
    """Return the file of tensors and how the report calls it."""
    if weights not in ("auto", "published"):
        path = Path(weights)
        require(
            path.is_file(),
            "weights",
            "'auto', 'published', 'random' or an existing .pth, .pt or .safetensors file",
            str(weights),
        )
        return path, str(path)
    if design.published is None:
        raise MissingDependencyError(
            f"Nobody publishes weights for {design.name}. "
            f"Hint: weights='random', or weights= the path of a file."
        )
    return design.published.locate(), str(design.published)


def _random_start(
    design: Architecture, num_outputs: int, dropout: float, seed: int, note: str
) -> tuple[nn.Module, WeightsReport]:
    with global_generator_kept(seed):
        model = _with_new_head(design, num_outputs, dropout)
    _initialise_head(model, design, seed)
    return model, WeightsReport(source="", kind="random", note=note)


def _with_new_head(design: Architecture, num_outputs: int, dropout: float) -> nn.Module:
    require(num_outputs >= 1, "num_outputs", "at least 1", num_outputs)
    require(0 <= dropout < 1, "dropout", "at least 0 and below 1", dropout)
    model = design.build()
    if not design.head:
        return model
    parent_name, _, name = design.head.rpartition(".")
    parent = model.get_submodule(parent_name)
    old = parent.get_submodule(name)
    if not isinstance(old, nn.Linear):
        raise InvalidValueError(
            f"architecture must be one whose layer {design.head!r} is linear. Got {design.name!r}."
        )
    siblings = list(parent.children())
    position = next(i for i, module in enumerate(siblings) if module is old)
    before = siblings[position - 1] if position else None
    if isinstance(before, nn.Dropout):  # VGG, MobileNet: the head's dropout takes its place
        before.p = 0.0
    setattr(
        parent, name, nn.Sequential(nn.Dropout(dropout), nn.Linear(old.in_features, num_outputs))
    )
    return model


def _initialise_head(model: nn.Module, design: Architecture, seed: int) -> None:
    """Xavier-uniform weights (the paper's glorot_uniform) and zero bias, from the seed alone."""
    if not design.head:
        return
    weight, bias = (model.get_parameter(name) for name in head_names(design))
    nn.init.xavier_uniform_(weight, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(bias)
