"""A trained model as one directory that needs nothing else: weights, names, preprocessing, origin.

    BUNDLE/manifest.json        readable; format version first
    BUNDLE/weights.safetensors  tensors only
    BUNDLE/network/             files of a network that needs some
    BUNDLE/outliers.safetensors what the out-of-distribution score compares with, if fitted

The bundle is the only thing prediction needs, wherever it runs: Spark, command line, HTTP, DICOM.
Names and preprocessing travel with the weights, so scores cannot be mixed up and pixels are
treated as in training. Nothing is unpickled.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file as load_tensors_of_file
from torch import Tensor, nn

from hilum import storage
from hilum.errors import ChecksumError, InvalidValueError, require
from hilum.evaluation.decision import DecisionRules
from hilum.inference.outliers import OutlierDetector
from hilum.inputs import RowSpec
from hilum.models import Architecture, create_model
from hilum.models.designs import design_from_json, design_to_json, write_design_files
from hilum.models.factories import FactoryRecipe
from hilum.models.weights import tensor_bytes
from hilum.preprocessing import Chain

__all__ = ["ModelBundle", "bundle_versions", "load_bundle", "save_bundle"]

FORMAT = "hilum-bundle"
FORMAT_VERSION = 1
_WEIGHTS = "weights.safetensors"
ROWS_FORMAT_VERSION = 2  # of bundles of any columns, which older versions cannot read


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelBundle:
    """A model ready to predict.

    Attributes:
        architecture: name of the network.
        design: how it is built where the name does not say it; None for those of libraries.
        findings: names of the outputs, in order.
        preprocessing: the chain of training; prediction uses its deterministic form.
        weights: the network's state dict.
        rows: what the network reads and says where it is not findings in images.
        provenance: how it came to be: settings, start weights, versions, split, data counts.
        metrics: validation figures at the kept epoch.
        decision_rules: calibration and thresholds, fitted on validation patients; None for bundles
            without them, such as those of older versions.
        outliers: scores how unlike the training images an image is; None in bundles without.
    """

    architecture: str
    findings: tuple[str, ...]
    preprocessing: Chain
    weights: Mapping[str, Tensor]
    design: Architecture | None = None
    rows: RowSpec | None = None
    dropout: float = 0.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    decision_rules: DecisionRules | None = None
    outliers: OutlierDetector | None = None

    def __post_init__(self) -> None:
        require(len(self.findings) > 0, "findings", "at least one name", self.findings)
        named = self.design is None or self.design.name == self.architecture
        require(named, "architecture", "the design's name", self.architecture)
        if self.decision_rules is not None:
            decided = self.decision_rules.findings
            same = decided == self.findings
            require(same, "decision_rules", f"for {', '.join(self.findings)}", decided)

    @property
    def blueprint(self) -> Architecture | str:
        """What the functions of `hilum.models` build the network from."""
        return self.design or self.architecture

    def network(self, *, shared: bool = False) -> nn.Module:
        """The network with its weights, in evaluation mode.

        Args:
            shared: the network's tensors are the bundle's own, for those who only predict; else
                they are copies, and always where a function of the user's makes the network:
                its code may hold views of tensors, which would not change with them.

        Raises:
            MissingDependencyError: a function or a package that makes it is not installed here.
        """
        count = len(self.findings) if self.rows is None else self.rows.num_outputs
        model = create_model(self.blueprint, count, dropout=self.dropout)
        of_the_users = self.design is not None and isinstance(self.design.recipe, FactoryRecipe)
        if shared and not of_the_users:
            _give_tensors(model, self.weights)
        else:
            model.load_state_dict(dict(self.weights))
        return model.eval()

    @property
    def num_parameters(self) -> int:
        """Elements of all weight tensors, running statistics included."""
        return sum(tensor.numel() for tensor in self.weights.values())

    @property
    def digest(self) -> str:
        """SHA-256 of weights.safetensors, which names this model whatever its directory."""
        return storage.sha256_of(tensor_bytes(self.weights))


def save_bundle(bundle: ModelBundle, url: str) -> None:
    """Write a bundle to a directory on any storage; the manifest comes last."""
    data = tensor_bytes(bundle.weights)
    storage.write_bytes(storage.join(url, _WEIGHTS), data)
    outliers = save_arrays(bundle.outliers.to_arrays()) if bundle.outliers else None
    if outliers is not None:
        storage.write_bytes(storage.join(url, "outliers.safetensors"), outliers)
    write_design_files(bundle.design, url)
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION if bundle.rows is None else ROWS_FORMAT_VERSION,
        **({} if bundle.rows is None else {"rows": bundle.rows.to_json()}),
        "architecture": bundle.architecture,
        "network": None if bundle.design is None else design_to_json(bundle.design),
        "findings": list(bundle.findings),
        "dropout": bundle.dropout,
        "preprocessing": bundle.preprocessing.to_json(),
        "weights_sha256": storage.sha256_of(data),
        "outliers_sha256": None if outliers is None else storage.sha256_of(outliers),
        "provenance": dict(bundle.provenance),
        "metrics": dict(bundle.metrics),
        "decision_rules": bundle.decision_rules and bundle.decision_rules.to_json(),
    }
    storage.write_json(storage.join(url, "manifest.json"), manifest)


def load_bundle(url: str, *, mapped: bool = False) -> ModelBundle:
    """Read a bundle that `save_bundle` wrote.

    Args:
        url: the directory.
        mapped: leave the weights in their file, for all processes that do so to share one copy in
            memory; the file must be local, and must not change as long as the bundle is used.

    Raises:
        InvalidValueError: no bundle there, or one of a newer version of Hilum; `mapped`, and not on
            this machine.
        ChecksumError: the weights are not those that were saved.
    """
    manifest_url = storage.join(url, "manifest.json")
    if not storage.exists(manifest_url):
        raise InvalidValueError(
            f"bundle must be a directory with manifest.json. Got {url!r}. "
            "Hint: `hilum run` and `hilum train` write one to RUN/bundle."
        )
    try:
        manifest = storage.read_json(manifest_url)
    except ValueError as error:
        raise InvalidValueError(
            f"{manifest_url} must be JSON. Got {error}. Hint: copy the bundle again."
        ) from error
    known = (FORMAT_VERSION, ROWS_FORMAT_VERSION)
    if manifest.get("format") != FORMAT or manifest.get("format_version") not in known:
        raise InvalidValueError(
            f"bundle format must be {FORMAT} version {' or '.join(map(str, known))}. "
            f"Got {manifest.get('format')!r} version {manifest.get('format_version')!r} in {url}. "
            "Hint: a newer Hilum wrote it; upgrade this one."
        )
    weights = _weights(url, manifest["weights_sha256"], mapped)
    # Bundles of Hilum 0.1.0 have no such fields, and a bundle may have no score and no rules.
    network = manifest.get("network")
    outliers_sha256 = manifest.get("outliers_sha256")
    outliers = None
    if outliers_sha256 is not None:
        arrays = load_arrays(_checked(url, "outliers.safetensors", outliers_sha256))
        outliers = OutlierDetector.from_arrays(arrays)
    decided = manifest.get("decision_rules")
    rows = manifest.get("rows")
    return ModelBundle(
        architecture=manifest["architecture"],
        design=None if network is None else design_from_json(network, url),
        rows=None if rows is None else RowSpec.from_json(rows),
        findings=tuple(manifest["findings"]),
        dropout=manifest["dropout"],
        preprocessing=Chain.from_json(manifest["preprocessing"]),
        weights=weights,
        provenance=manifest["provenance"],
        metrics=manifest["metrics"],
        decision_rules=decided and DecisionRules.from_json(decided),
        outliers=outliers,
    )


def _weights(url: str, sha256: str, mapped: bool) -> Mapping[str, Tensor]:
    if not mapped:
        return load_tensors(_checked(url, _WEIGHTS, sha256))
    path = storage.local_path(storage.join(url, _WEIGHTS))
    if path is None:
        raise InvalidValueError(f"url must be on this machine where mapped=True. Got {url!r}.")
    with path.open("rb") as file:  # in pieces: read whole, it would be twice in memory
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ChecksumError(_damaged(url, _WEIGHTS, sha256, found))
    return load_tensors_of_file(path)


def _give_tensors(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Let a model's own parameters and buffers be these tensors: whoever holds one, sees it."""
    own = model.state_dict(keep_vars=True)
    shapes = {name: tensor.shape for name, tensor in own.items()}
    if shapes != {name: tensor.shape for name, tensor in weights.items()}:
        model.load_state_dict(dict(weights))  # says what does not fit
    for name, tensor in own.items():
        tensor.data = weights[name].to(tensor.dtype)


def _checked(url: str, name: str, sha256: str) -> bytes:
    try:
        data = storage.read_bytes(storage.join(url, name))
    except FileNotFoundError:
        data = b""
    if storage.sha256_of(data) != sha256:
        found = storage.sha256_of(data) if data else "no bytes"
        raise ChecksumError(_damaged(url, name, sha256, found))
    return data


def _damaged(url: str, name: str, sha256: str, found: str) -> str:
    return (
        f"{url}/{name} must have SHA-256 {sha256}. Got {found}. "
        "Hint: the file was cut or changed; copy it again."
    )


def bundle_versions() -> dict[str, str]:
    """Versions that matter to reproduce a model."""
    from hilum import __version__

    return {"hilum": __version__, "torch": str(torch.__version__)}
