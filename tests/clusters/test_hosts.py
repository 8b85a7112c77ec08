"""Hosts of their own: ranks meet on the network they share, and one that drops out is named."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hilum
from cluster_session import driver
from hilum.training import Every, read_attempts
from hilum.training.checkpoint import checkpointed_step
from hosts import HostsMissingError, hosts
from standalone import standalone
from training_cases import start_run, write_cache

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.cluster]

RANK = Path(__file__).parents[1] / "support" / "host_rank.py"
SOURCE = str(Path(hilum.__file__).parents[1])
LIMIT_S = 150.0


@pytest.fixture(scope="module")
def network():
    try:
        with hosts(2) as made:
            yield made
    except HostsMissingError as error:
        pytest.skip(str(error))


def test_ranks_meet_although_each_host_resolves_its_own_name_to_its_loopback(network, tmp_path):
    _, machines = network
    meeting = tmp_path / "meeting"
    ranks = [
        subprocess.Popen(
            [*own.before, sys.executable, str(RANK), str(rank), own.name, other.name, str(meeting)],
            env=os.environ | {"PYTHONPATH": SOURCE},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, (own, other) in enumerate([machines, machines[::-1]])
    ]
    answers = [json.loads(rank.communicate(timeout=LIMIT_S)[0]) for rank in ranks]
    assert meeting.read_text().startswith(f"{machines[0].address}:")
    assert answers == [{"sum": 3.0, "interface": "eth0"}] * 2


def test_a_host_that_drops_out_is_noticed_named_and_waited_for(network, tmp_path):
    gateway, machines = network
    write_cache(tmp_path / "cache")
    steps = {"max_epochs": 400, "checkpoint_every": Every(steps=5)}
    run = start_run(tmp_path / "run", tmp_path / "cache", **steps)
    places = [(machine.address, machine.before) for machine in machines]
    more = {
        "spark.driver.host": gateway,
        "spark.driver.bindAddress": gateway,
        "spark.executorEnv.PYTHONPATH": f"{SOURCE}:{Path(__file__).parents[1] / 'support'}",
    }
    with (
        standalone(tmp_path, 2, host=gateway, hosts=places) as cluster,
        driver(tmp_path, cluster.address, None, more) as session,
    ):
        session.begin(do="train", run=run, ranks=2, policy={"executor_wait_s": 90.0})
        deadline = time.monotonic() + LIMIT_S
        while checkpointed_step(run) == 0:
            assert time.monotonic() < deadline, session.said()
            time.sleep(0.05)
        machines[1].link("down")
        down = time.monotonic()
        try:
            while read_attempts(run)[0].outcome == "running":
                assert time.monotonic() < deadline, session.said()
                time.sleep(0.1)
            noticed_s = time.monotonic() - down
        finally:
            machines[1].link("up")
        print(f"noticed after {noticed_s:.1f} s")
        answer = session.answer()
        assert len(answer["answer"]) == 2, "the host came back, and two ranks ended the run"
    lost, *_, done = read_attempts(run)
    assert lost.reason.startswith("rank 1 of 2 on node2 was lost"), lost.reason
    assert (lost.outcome, done.outcome, done.ranks) == ("lost", "done", 2)
    assert lost.hosts == ("node1", "node2")
    assert noticed_s < 60, f"{noticed_s:.1f} s"
