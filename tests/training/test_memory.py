import pytest
import torch

from hilum.errors import InvalidValueError
from hilum.models import create_model
from hilum.optim import OptimizerSpec
from hilum.training import open_cache
from hilum.training.memory import (
    Activations,
    MemoryLimit,
    MemoryNeed,
    MemoryPlan,
    measure_activations,
    optimizer_state_bytes,
    parameter_bytes,
    plan_training,
)
from training_cases import config


def test_activations_of_a_convolution_are_its_input_and_output():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.nn.ReLU())
    found = measure_activations(network, (3, 10, 10), torch.float32)
    # Backward of the convolution needs its input, that of the ReLU its output: 4 bytes each.
    assert found == Activations(fixed=0, per_image=(3 + 8) * 100 * 4)


def test_measuring_changes_neither_the_network_nor_the_random_numbers():
    network = create_model("timm:test_resnet", 2, dropout=0.5).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator = torch.get_rng_state()
    measure_activations(network, (3, 32, 32), torch.float32)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(before[n], tensor) for n, tensor in network.state_dict().items())


def test_a_batch_needs_what_two_small_ones_foretell():
    network = create_model("timm:test_resnet", 2).train()
    few = measure_activations(network, (3, 32, 32), torch.float32)
    kept = []

    def note(tensor):
        kept.append(tensor.untyped_storage())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = network(torch.zeros(16, 3, 32, 32))
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    sizes = {s.data_ptr(): s.nbytes() for s in kept if s.data_ptr() not in own}
    assert few.fixed + 16 * few.per_image == pytest.approx(sum(sizes.values()), rel=0.05)
    del output


def test_a_frozen_network_keeps_no_activations_for_its_frozen_part():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten())
    network.append(torch.nn.Linear(8 * 64, 2))
    everything = measure_activations(network, (3, 10, 10), torch.float32)
    network[0].requires_grad_(requires_grad=False)
    head = measure_activations(network, (3, 10, 10), torch.float32)
    assert head.per_image < everything.per_image
    assert parameter_bytes(network, trained_only=True) == (8 * 64 * 2 + 2) * 4


@pytest.mark.parametrize(
    ("spec", "moments"),
    [
        (OptimizerSpec(name="sgd"), 0),
        (OptimizerSpec(name="sgd", momentum=0.9), 1),
        (OptimizerSpec(name="adamw"), 2),
    ],
)
def test_optimizer_state_is_counted_without_memory(spec, moments):
    network = torch.nn.Linear(300, 200)
    found = optimizer_state_bytes(spec, network)
    assert found == pytest.approx(moments * parameter_bytes(network), abs=100)  # step counters


def plan(safe_gb, limit_gb, ranks=1):
    limit = MemoryLimit(
        num_bytes=limit_gb * 10**9,
        safe_bytes=safe_gb * 10**9,
        source="spark.executor.memoryOverhead",
        advice="set it to {needed}",
    )
    needs = (MemoryNeed("weights", 10**9), MemoryNeed("activations", 3 * 10**9))
    return MemoryPlan(needs=needs, ranks_per_executor=ranks, cache_bytes=7 * 10**9, limit=limit)


def test_a_plan_that_breaks_its_limit_is_refused_with_the_setting_to_change():
    assert plan(4, 4).problem() == ""
    with pytest.raises(InvalidValueError) as refused:
        plan(2, 7, ranks=2).problem()
    assert "spark.executor.memoryOverhead must leave 8.00 GB for training. Got 7.00 GB" in str(
        refused.value
    )
    assert "set it to 8.00 GB, or lower batchSize" in str(refused.value)
    assert "activations 3.00 GB" in str(refused.value)


def test_a_plan_that_needs_what_the_jvm_may_use_is_warned_of():
    assert "should leave 8.00 GB for training. Got 6.00 GB" in plan(6, 9, ranks=2).problem()


def test_the_table_has_every_need_and_the_limit():
    assert plan(10, 10, ranks=2).rows() == [
        ("weights", "1.00 GB"),
        ("activations", "3.00 GB"),
        ("one rank", "4.00 GB"),
        ("2 ranks", "8.00 GB"),
        ("images, in page cache", "7.00 GB"),
        ("limit: spark.executor.memoryOverhead", "10.00 GB"),
    ]


def test_a_run_is_planned_from_its_configuration(cache_directory):
    network, cache = create_model("timm:test_resnet", 2), open_cache(cache_directory)
    lean = plan_training(config(), network, cache, num_ranks=1)
    rich = plan_training(config(ema_decay=0.9), network, cache, num_ranks=1)
    frozen = plan_training(config(freeze="backbone"), network, cache, num_ranks=1)
    by_name = {need.name: need.num_bytes for need in rich.needs}
    weights = parameter_bytes(network)
    assert by_name["weights"] == by_name["moving average of the weights"] == weights
    assert by_name["optimizer state (adamw)"] == pytest.approx(2 * weights, rel=0.1)
    assert "activations of 5 images" in by_name
    assert rich.num_bytes == lean.num_bytes + 3 * weights  # one to train with, two in checkpoints
    assert frozen.num_bytes < lean.num_bytes
    assert all(parameter.requires_grad for parameter in network.parameters())
