"""Optimizers and losses of large batches and rare findings in whole runs on real processes."""

import pytest
import torch

from hilum import storage
from hilum.optim import AsymmetricLoss, Clipping, FocalLoss, OptimizerSpec
from hilum.training import LocalLauncher, Stopping, TrainJob, load_checkpoint, train_worker

ONE_THREAD = LocalLauncher(num_threads=1)

LARS = OptimizerSpec(
    name="lars", momentum=0.9, nesterov=True, trust_coefficient=0.1, weight_decay=0.01
)
LAMB = OptimizerSpec(name="lamb", weight_decay=0.01, layer_decay=0.8)


def losses_after(run, num_ranks=1):
    ONE_THREAD.launch(train_worker, run, num_ranks)
    return [(record.train_loss, record.valid_loss) for record in load_checkpoint(run).history]


def test_two_ranks_have_the_loss_curve_of_one_with_layer_wise_steps_and_weights(make_run):
    settings = {
        "optimizer": LARS,
        "loss": AsymmetricLoss(finding_weights=(1e-3, 2e-3), label_smoothing=0.05),
        "clipping": Clipping(norm=0.1),
    }
    first, second = (
        losses_after(make_run(f"ranks-{ranks}", **settings), ranks) for ranks in (1, 2)
    )
    for one, two in zip(first, second, strict=True):
        assert one == pytest.approx(two, rel=1e-5)


@pytest.mark.parametrize("optimizer", [LARS, LAMB], ids=lambda spec: spec.name)
def test_a_run_broken_in_an_epoch_ends_with_the_weights_of_an_unbroken_one(make_run, optimizer):
    settings = {"optimizer": optimizer, "loss": FocalLoss(), "max_epochs": 2}
    unbroken, broken = make_run("unbroken", **settings), make_run("broken", **settings)
    losses_after(unbroken)
    job = TrainJob.from_json(storage.read_json(f"{broken}/job.json"))
    cut = {**job.to_json(), "config": {**job.config.to_json(), "stopping": {"max_steps": 6}}}
    storage.write_json(f"{broken}/job.json", cut)
    assert Stopping(max_steps=6) == TrainJob.from_json(cut).config.stopping
    losses_after(broken)
    assert load_checkpoint(broken).step == 6, "within the second epoch of four steps"
    storage.write_json(f"{broken}/job.json", job.to_json())
    losses_after(broken)
    expected = load_checkpoint(unbroken).weights
    for name, value in load_checkpoint(broken).weights.items():
        assert torch.equal(value, expected[name]), name
