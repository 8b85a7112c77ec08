"""Bundles on executors: one copy of the weights for all workers of one."""

import pytest
import torch

import any_models
from hilum.errors import ChecksumError, InvalidValueError
from hilum.inference import ModelBundle, load_bundle, save_bundle
from hilum.models import factory
from hilum.models.starting import whole_design
from hilum.spark.radiograph_prediction import ShippedRadiographModel
from hilum.spark.shipping import ship_bundle
from tiny_models import tiny_bundle

pytestmark = pytest.mark.spark


def bytes_in_worker(spark, source):
    """Bytes of the network's tensors in a Python worker, and of those that lie in a mapped file."""

    def look(batches):
        from pathlib import Path

        import pyarrow as pa

        for _ in batches:
            pass
        tensors = source.load().predictor.model.state_dict().values()
        lines = Path("/proc/self/maps").read_text().splitlines()
        places = [line.split()[0].split("-") for line in lines if "weights.safetensors" in line]
        ranges = [(int(low, 16), int(high, 16)) for low, high in places]
        inside = [t for t in tensors if any(lo <= t.data_ptr() < hi for lo, hi in ranges)]
        sizes = [sum(t.nbytes for t in some) for some in (tensors, inside)]
        yield pa.RecordBatch.from_pydict({"all": sizes[:1], "mapped": sizes[1:]})

    (row,) = spark.range(1).coalesce(1).mapInArrow(look, "all long, mapped long").collect()
    return tuple(row)


@pytest.mark.skipif(torch.cuda.is_available(), reason="weights are on the GPU")
def test_workers_map_the_weights_of_a_network_for_images(spark):
    bundle = tiny_bundle()
    kernels = [name for name, tensor in bundle.weights.items() if tensor.dim() == 4]
    assert kernels, "their order in memory is another than in the bundle"
    every, mapped = bytes_in_worker(spark, ShippedRadiographModel(ship_bundle(spark, bundle), 4))
    assert every == sum(tensor.nbytes for tensor in bundle.weights.values())
    if not torch.cuda.is_available():  # else the network is in the GPU's memory, a copy
        assert mapped == every


def test_networks_share_the_tensors_of_a_bundle_or_have_copies():
    bundle = tiny_bundle()
    for shared in (True, False):
        tensors = bundle.network(shared=shared).state_dict()
        same = [tensors[n].data_ptr() == t.data_ptr() for n, t in bundle.weights.items()]
        assert set(same) == {shared}
        assert all(torch.equal(tensors[n], t) for n, t in bundle.weights.items())


def test_a_network_of_the_users_has_its_own_tensors_for_its_code_may_hold_views():
    design = whole_design(factory(any_models.viewing))
    bundle = ModelBundle(
        architecture=design.name,
        design=design,
        findings=("a",),
        preprocessing=tiny_bundle().preprocessing,
        weights={"layer.weight": torch.tensor([[1.0, 2.0, 3.0]])},
    )
    assert bundle.network(shared=True)(torch.ones(1, 3)).item() == 6.0
    assert bundle.network()(torch.ones(1, 3)).item() == 6.0


def test_weights_are_mapped_on_this_machine_only_and_checked(tmp_path):
    bundle = tiny_bundle()
    save_bundle(bundle, str(tmp_path))
    mapped = load_bundle(str(tmp_path), mapped=True)
    assert mapped.digest == bundle.digest
    data = bytearray((tmp_path / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(data)
    with pytest.raises(ChecksumError, match=r"weights\.safetensors must have SHA-256"):
        load_bundle(str(tmp_path), mapped=True)
    save_bundle(bundle, "memory://mapped")
    with pytest.raises(InvalidValueError, match="on this machine where mapped=True"):
        load_bundle("memory://mapped", mapped=True)
