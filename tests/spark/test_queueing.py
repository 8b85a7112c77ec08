"""Fits that are started at the same time wait for each other's executors. No session."""

import random
import threading
import time

import pytest

from hilum.spark.queueing import RankQueue


def test_no_more_ranks_work_than_there_are_executors_and_all_get_their_turn():
    queue, lock = RankQueue(), threading.Lock()
    working, most, done = 0, 0, []
    wanted = random.Random(0).choices([1, 2, 3], k=12)

    def fit(number):
        nonlocal working, most
        with queue.places(wanted[number], 3):
            with lock:
                working += wanted[number]
                most = max(most, working)
            time.sleep(0.005)
            with lock:
                working -= wanted[number]
                done.append(number)

    threads = [threading.Thread(target=fit, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(done) == list(range(12))
    assert 1 < most <= 3


def test_a_large_fit_is_not_starved_by_small_ones_that_came_later():
    queue, order = RankQueue(), []
    release, started = threading.Event(), threading.Event()

    def first():
        with queue.places(1, 2):
            started.set()
            release.wait(10)

    def later(name, ranks):
        with queue.places(ranks, 2):
            order.append(name)

    threads = [threading.Thread(target=first)]
    threads[0].start()
    started.wait(10)
    for name, ranks in (("large", 2), ("small", 1)):
        threads.append(threading.Thread(target=later, args=(name, ranks)))
        threads[-1].start()
        time.sleep(0.05)
    assert order == [], "one place is free, but the large one is before"
    release.set()
    for thread in threads:
        thread.join(10)
    assert order[0] == "large"


def test_a_failed_fit_gives_its_executors_back_and_more_ranks_than_executors_go_alone():
    queue = RankQueue()
    with pytest.raises(ValueError, match="broken"), queue.places(2, 2):
        raise ValueError("broken")
    with queue.places(5, 2):
        pass
