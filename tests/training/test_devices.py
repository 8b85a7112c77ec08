import numpy as np
import pytest
import torch

from hilum.errors import InvalidValueError
from hilum.training import open_cache
from hilum.training.devices import (
    HostImages,
    ResidentImages,
    RingImages,
    compile_network,
    cuda_index,
    fits_on_device,
    open_images,
)
from hilum.training.placement import WholePlacement
from training_cases import chain

CPU = torch.device("cpu")


@pytest.fixture
def cache(cache_directory):
    return open_cache(cache_directory)


@pytest.mark.parametrize("kind", ["host", "ring", "resident"])
def test_images_are_the_same_however_they_reach_the_device(cache, kind):
    images = {
        "host": lambda: HostImages(cache),
        "ring": lambda: RingImages(cache, CPU, slots=2),
        "resident": lambda: ResidentImages(cache, np.arange(4, 23), CPU),
    }[kind]()
    wanted = [np.array([4, 22, 5]), np.array([9]), np.arange(4, 23), np.array([7, 7, 8, 6])]
    # All are asked for before the first is used, as the thread that works ahead does.
    on_their_way = [images.gather(samples) for samples in wanted]
    for samples, tensor in zip(wanted, on_their_way, strict=True):
        assert (images.ready(tensor).numpy() == cache.gather(samples)).all()


def test_a_cpu_reads_images_where_they_are_used(cache):
    placement = WholePlacement(cache=cache, num_ranks=1, seed=0)
    assert isinstance(open_images(placement, CPU), HostImages)


def test_augmentation_runs_where_the_images_are(cache):
    """On the meta device, mixing in a tensor of the host would fail."""
    images = torch.empty((5, 1, 36, 36), dtype=torch.uint8, device="meta")
    done = chain().suffix(images, seed=0, epoch=0, sample_ids=torch.arange(5))
    assert done.device.type == "meta"
    assert done.shape == (5, 3, 32, 32)


def test_a_rank_takes_the_gpu_of_its_task_else_that_of_its_place():
    assert cuda_index(None, 2, 4, None) == 2
    assert cuda_index("3", 0, 4, None) == 3
    assert cuda_index("3", 0, 1, "3") == 0  # the executor sees one GPU, which is the host's fourth
    assert cuda_index("5", 1, 2, "4, 5") == 1
    assert cuda_index("1", 0, 2, "4,5") == 1  # Spark counted what the executor sees
    with pytest.raises(InvalidValueError, match=r"GPUs \(2\).*Got 3"):
        cuda_index(None, 2, 2, None)


def test_images_reside_on_the_device_if_half_of_its_memory_stays_free():
    assert fits_on_device(40, 80)
    assert not fits_on_device(41, 80)


def test_a_compiled_network_computes_the_same_and_keeps_its_names():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    names, inputs = list(network.state_dict()), torch.randn(4, 8)
    expected = network(inputs)
    compile_network(network, CPU)
    # A header compiled beforehand pays where many kernels include it; here are two.
    with torch._inductor.config.patch(cpp_cache_precompile_headers=False):
        found = network(inputs)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert list(network.state_dict()) == names
