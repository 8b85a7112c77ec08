"""Bundles on their way to executors: sent once per session as files, opened there by name.

Files and not a closure, because Spark would unpickle a closure of the weights' size for every task.
"""

import atexit
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

from pyspark import SparkFiles
from pyspark.sql import SparkSession

from hilum import storage
from hilum.inference import ModelBundle, load_bundle, save_bundle
from hilum.models.designs import NETWORK_FOLDER, design_to_json
from hilum.models.weights import tensor_bytes

__all__ = ["ship_bundle", "shipped_bundle"]


def ship_bundle(spark: SparkSession, bundle: ModelBundle) -> str:
    """Send the bundle to all executors, once per session; returns the name it has there.

    Executors fetch the files when they first need them, so they stay until we exit.
    """
    digest = storage.sha256_of(tensor_bytes(bundle.weights))
    chain, rules = bundle.preprocessing, bundle.decision_rules
    network = bundle.design and design_to_json(bundle.design)
    manifest = repr(
        (bundle.architecture, network, bundle.findings, chain, bundle.dropout, rules, bundle.rows)
    )
    outliers = bundle.outliers.to_arrays() if bundle.outliers else {}
    manifest += "".join(storage.sha256_of(array.tobytes()) for array in outliers.values())
    name = f"hilum-{digest[:16]}{storage.sha256_of(manifest.encode())[:8]}"
    sent = _sent.setdefault(spark, set())
    if name not in sent:
        directory = Path(tempfile.mkdtemp(prefix="hilum-share-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        save_bundle(_in_order(bundle, _CHANNELS_LAST), str(directory))
        for file in [path for path in sorted(directory.rglob("*")) if path.is_file()]:
            flat = _sent_name(name, file.relative_to(directory))
            spark.addArtifacts(str(file.rename(directory / flat)), file=True)
        sent.add(name)
    return name


def shipped_bundle(name: str) -> ModelBundle:
    """Read the bundle that `ship_bundle` sent, inside a Python worker of the session.

    The workers of an executor share one copy of its weights, the pages of the file.
    """
    with tempfile.TemporaryDirectory(prefix="hilum-bundle-") as directory:
        manifest = json.loads(Path(SparkFiles.get(f"{name}-manifest.json")).read_bytes())
        own = (manifest["network"] or {}).get("files", {})
        files = ("manifest.json", "weights.safetensors", "outliers.safetensors")
        (Path(directory) / NETWORK_FOLDER).mkdir()
        for file in map(Path, (*files, *(f"{NETWORK_FOLDER}/{one}" for one in own))):
            sent = Path(SparkFiles.get(_sent_name(name, file)))
            if sent.exists():  # not every bundle has outliers
                (Path(directory) / file).symlink_to(sent)
        return _in_order(load_bundle(directory, mapped=True), _CHANNELS_FIRST)


# Images are computed with channels last. Stored in that order, weights need not be copied into it.
_CHANNELS_LAST, _CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def _in_order(bundle: ModelBundle, order: tuple[int, int, int, int]) -> ModelBundle:
    if bundle.rows is not None:  # computed as they are
        return bundle
    items = bundle.weights.items()
    return replace(bundle, weights={n: t.permute(order) if t.dim() == 4 else t for n, t in items})


def _sent_name(name: str, file: Path) -> str:
    """What a file of a bundle is called among those of the session, which lie in one folder."""
    return "-".join((name, *file.parts))


# Spark refuses a second file of the same name from another place, so we remember.
_sent: WeakKeyDictionary[SparkSession, set[str]] = WeakKeyDictionary()
