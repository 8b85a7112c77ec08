"""A standalone cluster of two workers whose Python has no Hilum: it is packed and travels."""

import os
import signal
import time

import pytest

from cluster_session import driver, write_images
from hilum.packing import pack
from hilum.training import Every, read_attempts
from hilum.training.checkpoint import checkpointed_step
from standalone import standalone
from training_cases import start_run, write_cache

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.cluster]

LIMIT_S = 100.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("standalone")


@pytest.fixture(scope="module")
def cluster(folder):
    with standalone(folder, workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def session(cluster, folder):
    packed = folder / "env.tar.gz"
    pack(packed, hilum_only=True)
    network = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    with driver(folder, cluster.address, packed, network) as started:
        yield started


def test_executors_run_the_packed_interpreter_and_the_packed_hilum(session, folder):
    places = session.ask(do="places")
    works = {path.split("/environment")[0] for path, *_ in places}
    assert len(works) == 2, "an executor on each worker"
    for prefix, module, version, _ in places:
        assert prefix.startswith(f"{folder}/worker-"), "below the worker's own directory"
        assert prefix.endswith("/environment")
        assert module.startswith(f"{prefix}/lib/python"), module
        assert version


def test_two_ranks_on_two_workers_train_and_predict(session, folder):
    images = write_images(folder / "images")
    answer = session.ask(do="fit", images=str(images), out=str(folder / "run"))
    assert answer["rows"] == 8
    assert answer["ranks"] == 2, "one for each worker, without a word about how many there are"
    assert len(answer["hosts"]) == 2


def test_a_killed_worker_is_noticed_in_seconds_and_the_run_goes_on(session, cluster, folder):
    """The last test: the worker does not come back, and one rank finishes alone."""
    write_cache(folder / "cache")
    steps = {"max_epochs": 40, "checkpoint_every": Every(steps=3)}
    run = start_run(folder / "killed", folder / "cache", **steps)
    session.begin(do="train", run=run, ranks=2, policy={"executor_wait_s": 0.0})
    deadline = time.monotonic() + LIMIT_S
    while checkpointed_step(run) == 0:
        assert time.monotonic() < deadline, session.said()
        time.sleep(0.05)
    os.kill(cluster.workers[0].pid, signal.SIGKILL)
    killed = time.monotonic()
    while len(read_attempts(run)) < 2:
        assert time.monotonic() < deadline, session.said()
        time.sleep(0.05)
    noticed_s = time.monotonic() - killed
    assert len(session.answer()["answer"]) == 1
    lost, done = read_attempts(run)
    assert (lost.outcome, done.outcome, done.ranks) == ("lost", "done", 1)
    assert lost.reason.startswith(("rank 0 of 2 on ", "rank 1 of 2 on ")), lost.reason
    assert done.first_step > 0
    assert noticed_s < 15, f"{noticed_s:.1f} s"
