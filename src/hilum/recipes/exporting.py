"""`hilum export`: a model as a file that other programs run, compared with the original.

The file is written, read again by the program it is for, and run on a batch; what differs is part
of the result. Names of the findings and the preprocessing go along as texts, because a file that
holds only numbers gets fed the wrong pixels sooner or later.
"""

import json
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hilum import storage
from hilum.errors import InvalidValueError, MissingDependencyError, require
from hilum.inference import ModelBundle, Predictor, load_bundle
from hilum.models.weights import tensor_bytes

__all__ = ["FORMATS", "ExportedModel", "export_bundle"]

TOLERANCE = 1e-3
_IMAGES, _TRACED = 3, 2  # compared with another number of images than it was written with
_SIDE_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """A file that was written and found to compute the same.

    Attributes:
        path: of the file, or its URL.
        size_bytes: of the file.
        images: how many were compared.
        difference: the largest between logits of the file and of the original.
        largest: magnitude of the original's logits.
        program: what ran the file.
    """

    path: str
    size_bytes: int
    images: int
    difference: float
    largest: float
    program: str


_Run = Callable[[Tensor], Tensor]
_Writer = Callable[[ModelBundle, nn.Module, Tensor, Mapping[str, str], Path], tuple[_Run, str]]


def export_bundle(bundle: str, format: str, out: str | None = None) -> ExportedModel:
    """Write a model for other programs and compare its outputs with the original's.

    The file takes float32 (N, 3, H, W), pixels after all of the preprocessing, and gives logits
    (N, findings); N is free. Texts in the file: `hilum.findings`, `hilum.preprocessing`,
    `hilum.outputs`, `hilum.decision_rules`, `hilum.architecture`, `hilum.bundle_sha256`.

    Args:
        bundle: model directory, a path or URL.
        format: a key of `FORMATS`.
        out: the file to write, a path or URL; None for one beside the bundle.

    Raises:
        InvalidValueError: no such format; or the file's outputs are others than the model's.
        MissingDependencyError: a package that writes or runs the format is missing.
    """
    require(format in FORMATS, "format", f"one of {', '.join(FORMATS)}", format)
    suffix, write = FORMATS[format]
    model = load_bundle(bundle)
    url = out or storage.join(storage.parent(bundle), f"model{suffix}")
    images = _batch(model)
    network = model.network().eval()
    with torch.inference_mode():
        expected = network(images)
    with tempfile.TemporaryDirectory(prefix="hilum-export-") as folder:
        path = Path(folder) / f"model{suffix}"
        run, program = write(model, network, images[:_TRACED], _texts(model), path)
        found = run(images)
        same = found.shape == expected.shape
        require(same, "outputs of the file", f"of shape {tuple(expected.shape)}", found.shape)
        difference = float((found - expected).abs().max())
        largest = float(expected.abs().max())
        if not difference <= TOLERANCE * max(1.0, largest):
            raise InvalidValueError(
                f"outputs of the file must be those of the model. Got a difference of "
                f"{difference:g} where logits are up to {largest:g}, run by {program}."
            )
        size_bytes = path.stat().st_size
        storage.write_bytes(url, path.read_bytes())
    return ExportedModel(
        path=url,
        size_bytes=size_bytes,
        images=len(images),
        difference=difference,
        largest=largest,
        program=program,
    )


def _batch(model: ModelBundle) -> Tensor:
    """Images of noise on their way through the preprocessing, each other than the last."""
    predictor = Predictor.load(model)
    random = np.random.default_rng(0)
    tall = random.integers(0, 256, (_IMAGES, _SIDE_PX, _SIDE_PX), dtype=np.uint8)
    prepared = torch.cat([predictor.prepare(pixels >> shift) for shift, pixels in enumerate(tall)])
    return predictor.inputs(prepared).cpu().contiguous()


def _texts(model: ModelBundle) -> dict[str, str]:
    texts = {
        "hilum.architecture": model.architecture,
        "hilum.findings": json.dumps(list(model.findings)),
        "hilum.preprocessing": json.dumps(model.preprocessing.to_json()),
        "hilum.outputs": "logits; probabilities are their sigmoid, then calibrated",
        "hilum.bundle_sha256": model.digest,
    }
    if model.decision_rules is not None:
        texts["hilum.decision_rules"] = json.dumps(model.decision_rules.to_json())
    return texts


def _write_onnx(
    model: ModelBundle, network: nn.Module, images: Tensor, texts: Mapping[str, str], path: Path
) -> tuple[_Run, str]:
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise MissingDependencyError(
            "ONNX files are written with onnx and onnxscript, which are not installed. "
            "Hint: pip install hilum[onnx]"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about PyTorch's own use of itself
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
        )
    assert program is not None
    program.model.metadata_props.update(texts)
    program.save(str(path), external_data=False)
    onnx.checker.check_model(str(path))
    return _onnx_runner(path)


def _onnx_runner(path: Path) -> tuple[_Run, str]:
    try:
        import onnxruntime
    except ImportError:
        import onnx.reference

        evaluator: Any = onnx.reference.ReferenceEvaluator(str(path))
        return (
            lambda images: torch.from_numpy(evaluator.run(None, {"images": images.numpy()})[0]),
            f"onnx {onnx.__version__} reference evaluator",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return (
        lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0]),
        f"onnxruntime {onnxruntime.__version__}",
    )


def _write_exported(
    model: ModelBundle, network: nn.Module, images: Tensor, texts: Mapping[str, str], path: Path
) -> tuple[_Run, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dynamic = ({0: torch.export.Dim("batch", min=1, max=4096)},)
        program = torch.export.export(network, (images,), dynamic_shapes=dynamic)
        torch.export.save(program, str(path), extra_files=dict(texts))
        again: Any = torch.export.load(str(path)).module()

    def run(images: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = again(images)
        return found

    return run, f"torch.export of PyTorch {torch.__version__}"


def _write_safetensors(
    model: ModelBundle, network: nn.Module, images: Tensor, texts: Mapping[str, str], path: Path
) -> tuple[_Run, str]:
    from safetensors.torch import load_file

    path.write_bytes(tensor_bytes(network.state_dict(), texts))
    again = replace(model, weights=load_file(str(path))).network()

    def run(images: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = again(images)
        return found

    return run, f"PyTorch {torch.__version__}"


FORMATS: Mapping[str, tuple[str, _Writer]] = MappingProxyType(
    {
        "onnx": (".onnx", _write_onnx),
        "torch-export": (".pt2", _write_exported),
        "safetensors": (".safetensors", _write_safetensors),
    }
)
"""Suffix and writer of each format."""
