"""Training on one, two and four ranks: each claim on real processes and a real network."""

import pytest
import torch
from safetensors.torch import load

from hilum import storage
from hilum.errors import TrainingError
from hilum.models import head_names
from hilum.training import LocalLauncher, TrainJob, load_checkpoint, train_worker
from hilum.training.world import World
from rank_workers import lacks_modules
from training_cases import write_cache

ONE_THREAD = LocalLauncher(num_threads=1)


def train(run, num_ranks=1):
    digests = ONE_THREAD.launch(train_worker, run, num_ranks)
    assert len(set(digests)) == 1, "all ranks end with the same weights"
    return load_checkpoint(run).history


def losses(history):
    return [(record.train_loss, record.valid_loss) for record in history]


@pytest.mark.parametrize(("num_ranks", "batch_size"), [(2, 8), (4, 7)])
def test_ranks_together_train_the_same_weights_as_one(make_run, num_ranks, batch_size):
    one, several = (make_run(name, global_batch_size=batch_size) for name in ("one", "several"))
    first, second = train(one, 1), train(several, num_ranks)
    for a, b in zip(losses(first), losses(second), strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    weights = load_checkpoint(one).weights
    for name, value in load_checkpoint(several).weights.items():
        torch.testing.assert_close(value, weights[name], rtol=1e-3, atol=1e-5)


def test_training_lowers_the_loss_and_ranks_the_findings(make_run):
    history = train(make_run(max_epochs=8, batch_norm="batch", dropout=0.0))
    assert history.epochs[-1].train_loss < 0.8 * history.epochs[0].train_loss
    assert max(record.valid_mean_auroc for record in history) > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(make_run):
    runs = [make_run("a", max_epochs=1), make_run("b", max_epochs=1)]
    other = make_run("c", max_epochs=1, seed=7)
    records = [losses(train(run)) for run in (*runs, other)]
    assert records[0] == records[1] != records[2]


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(make_run):
    unbroken, broken = make_run("unbroken", max_epochs=3), make_run("broken", max_epochs=3)
    whole = train(unbroken)
    job = TrainJob.from_json(storage.read_json(f"{broken}/job.json"))
    shorter = TrainJob(config=job.config.with_max_epochs(1), cache_directory=job.cache_directory)
    storage.write_json(f"{broken}/job.json", shorter.to_json())
    train(broken)
    storage.write_json(f"{broken}/job.json", job.to_json())
    continued = train(broken)
    assert losses(continued) == losses(whole)
    expected = load_checkpoint(unbroken).weights
    for name, value in load_checkpoint(broken).weights.items():
        assert torch.equal(value, expected[name]), name


def test_a_finished_run_is_not_trained_further(make_run):
    run = make_run(max_epochs=1)
    assert losses(train(run)) == losses(train(run))


def test_a_frozen_backbone_trains_only_the_head(make_run):
    run = make_run(max_epochs=1, freeze="backbone")
    before = TrainJob.from_json(storage.read_json(f"{run}/job.json")).config
    train(run)
    initial = load(storage.read_bytes(f"{run}/initial.safetensors"))
    changed = {
        name
        for name, value in load_checkpoint(run).weights.items()
        if not torch.equal(value, initial[name])
    }
    assert changed == set(head_names(before.architecture))


def fail_on_rank_one(world: World, argument: str) -> str:
    if world.rank == 1:
        raise ValueError("the reason")
    torch.distributed.barrier()
    return argument


def test_a_failing_rank_is_named_with_its_own_traceback():
    with pytest.raises(TrainingError, match=r"rank 1 of 2 on .*: ValueError: the reason") as caught:
        ONE_THREAD.launch(fail_on_rank_one, "", 2)
    assert "fail_on_rank_one" in str(caught.value)


def test_ranks_are_forked_with_what_they_import():
    names = "timm torchvision torch.utils.tensorboard matplotlib.figure"
    assert ONE_THREAD.launch(lacks_modules, names, 2) == ["", ""]


def test_a_run_without_training_images_says_so(make_run, tmp_path):
    write_cache(tmp_path / "cache", splits=("test",))
    with pytest.raises(TrainingError, match="training split must hold images"):
        train(make_run())


def test_rounded_gradients_train_to_nearly_the_same_loss(make_run):
    plain = train(make_run("plain", max_epochs=4, dropout=0.0), 2)
    rounded = train(
        make_run("rounded", max_epochs=4, dropout=0.0, gradient_compression="bfloat16"), 2
    )
    assert losses(plain) != losses(rounded), "gradients were rounded on their way"
    for exact, near in zip(losses(plain), losses(rounded), strict=True):
        assert near == pytest.approx(exact, rel=0.01)
    assert plain.epochs[-1].train_loss < 0.9 * plain.epochs[0].train_loss
