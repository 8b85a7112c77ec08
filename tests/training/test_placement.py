"""Copies on a host's own disk, whole and in parts; two "hosts" of one machine share its disk."""

import time
from dataclasses import replace

import numpy as np
import pytest

from hilum import storage
from hilum.errors import InvalidValueError, TrainingError
from hilum.training import LocalLauncher, TrainJob, load_checkpoint, staging, train_worker
from hilum.training.local_copies import Hold
from hilum.training.part_files import PartFiles
from hilum.training.parts import PartLayout
from hilum.training.placement import PartPlacement, open_placement
from hilum.training.shards import open_cache, read_index, read_manifest
from hilum.training.world import World
from training_cases import config

ONE_THREAD = LocalLauncher(num_threads=1)


@pytest.fixture(autouse=True)
def local_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_LOCAL_DIR", str(tmp_path / "scratch"))
    monkeypatch.setattr(staging, "RETRY_AFTER_S", 0.0)
    return tmp_path / "scratch"


def rank_on_its_own_host(world, run):
    return train_worker(replace(world, local_rank=0, host=f"host-{world.rank}"), run)


def use_remote_cache(run):
    """Let the ranks see the cache under a URL that is no path of theirs."""
    job = TrainJob.from_json(storage.read_json(f"{run}/job.json"))
    remote = replace(job, cache_directory=f"local://{job.cache_directory}")
    storage.write_json(f"{run}/job.json", remote.to_json())
    return job


def with_max_epochs(run, max_epochs):
    job = TrainJob.from_json(storage.read_json(f"{run}/job.json"))
    changed = replace(job, config=job.config.with_max_epochs(max_epochs))
    storage.write_json(f"{run}/job.json", changed.to_json())


def losses(run):
    history = load_checkpoint(run).history
    return [(record.train_loss, record.valid_loss) for record in history]


def test_a_remote_cache_trains_like_a_local_one_and_later_runs_use_the_copy(
    make_run, local_directory
):
    local, remote, again = make_run("a"), make_run("b"), make_run("c")
    ONE_THREAD.launch(train_worker, local, 1)
    use_remote_cache(remote)
    ONE_THREAD.launch(train_worker, remote, 2)
    assert losses(remote) == [pytest.approx(pair, rel=1e-5) for pair in losses(local)]
    copies = list(local_directory.glob("hilum-*/cache-*/build/shard-*.npy"))
    assert len(copies) == 3
    before = [path.stat().st_mtime_ns for path in copies]
    use_remote_cache(again)
    ONE_THREAD.launch(train_worker, again, 1)
    assert losses(again) == losses(local)
    assert [path.stat().st_mtime_ns for path in copies] == before


def test_hosts_with_a_part_each_train_like_fewer_hosts_that_go_on_and_leave_nothing(
    make_run, local_directory
):
    two_hosts, then_one = make_run("a", placement="part"), make_run("b", placement="part")
    ONE_THREAD.launch(rank_on_its_own_host, two_hosts, 2)
    with_max_epochs(then_one, 1)
    ONE_THREAD.launch(rank_on_its_own_host, then_one, 2)
    with_max_epochs(then_one, 2)
    ONE_THREAD.launch(train_worker, then_one, 1)
    assert storage.read_json(f"{then_one}/parts.json") == {"num_parts": 2}
    assert losses(then_one) == [pytest.approx(pair, rel=1e-5) for pair in losses(two_hosts)]
    assert [path for path in local_directory.rglob("*") if path.is_file()] == []


def test_more_hosts_than_shards_is_refused(make_run, cache_directory, tmp_path):
    run = make_run(placement="part")
    storage.write_json(f"{run}/parts.json", {"num_parts": 4})
    settings = config(placement="part")
    with (
        pytest.raises(InvalidValueError, match=r'shards \(3\).*Got 4.*placement="whole"'),
        open_placement(World(), settings, cache_directory, run, tmp_path),
    ):
        raise AssertionError("not reached")


@pytest.fixture
def one_of_three_hosts(cache_directory, tmp_path):
    """The placement of the middle one of three hosts, seed 0, four epochs."""
    manifest = read_manifest(cache_directory)
    hold = Hold(tmp_path, "part-test")
    hold.share()
    files = PartFiles(cache_directory, manifest, hold, copies=True)
    yield PartPlacement(
        world=World(),
        cache=read_index(cache_directory, manifest, files),
        files=files,
        layout=PartLayout(num_parts=3, host_of_rank=(0, 1, 1, 2)),
        host=1,
        seed=0,
        max_epochs=4,
    )
    files.close()
    assert not (tmp_path / "part-test").exists()


def test_a_host_holds_this_epochs_shards_and_the_next_ones_and_no_others(
    one_of_three_hosts, cache_directory
):
    placement, whole = one_of_three_hosts, open_cache(cache_directory)
    held_before = set()
    for epoch in range(4):
        placement.enter(epoch)
        order = placement.order(epoch)
        assert sorted(order.tolist()) == whole.positions("train").tolist()
        shares = placement.shares(order)
        mine = np.concatenate([shares[1], shares[2]])
        assert (placement.cache.gather(mine) == whole.gather(mine)).all()
        held = placement.held(epoch)
        names = {f"shard-{9 * shard:04d}.npy" for shard in held}
        if epoch < 3:
            names |= {f"shard-{9 * shard:04d}.npy" for shard in placement.held(epoch + 1)}
        assert files_of(placement, expected=names) == names
        held_before |= held
    assert len(held_before) > 1, "the parts change"


def test_what_fills_up_a_share_is_on_this_host(one_of_three_hosts):
    placement = one_of_three_hosts
    placement.enter(0)
    order = placement.order(0)
    for samples in (order, order[:1], order[1:2], order[2:3]):
        filling = placement.filling(samples)
        assert len(filling) > 0
        assert set(placement.cache.shard_of[filling].tolist()) <= placement.held(0)


def test_a_shard_that_storage_lost_is_named_instead_of_waited_for(
    one_of_three_hosts, cache_directory
):
    placement = one_of_three_hosts
    for shard in placement.held(0):
        storage.local_path(f"{cache_directory}/build/shard-{9 * shard:04d}.npy").unlink()
    with pytest.raises(TrainingError, match=r"could not be copied.*shard-00"):
        placement.enter(0)


def files_of(placement, expected):
    """Names of the shards on disk, once the copying that goes on beside has had its time."""
    deadline = time.monotonic() + 10
    while True:
        found = {path.name for path in placement.files.folder.glob("shard-*.npy")}
        if found == expected or time.monotonic() > deadline:
            return found
        time.sleep(0.01)
