"""bfloat16 is used where the processor computes it, not where it merely says so."""

import subprocess
import sys

import pytest
import torch

from hilum.processor import has_fast_bfloat16

PROGRAM = """
import pytest
import torch
from hilum.processor import has_fast_bfloat16
if has_fast_bfloat16():
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        torch.nn.Conv2d(64, 64, 3)(torch.ones(2, 64, 56, 56))
        torch.nn.Linear(256, 256)(torch.ones(256, 256))
print("alive", has_fast_bfloat16())
"""


def test_the_answer_is_a_fact_of_the_process():
    first = has_fast_bfloat16()
    assert isinstance(first, bool)
    assert has_fast_bfloat16() is first


def test_a_processor_that_announces_nothing_has_nothing():
    announced = torch.cpu.get_capabilities()
    if not (announced.get("amx_bf16") or announced.get("avx512_bf16")):
        assert not has_fast_bfloat16()


def test_where_bfloat16_is_said_to_be_fast_it_does_not_kill_the_process():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("alive")


def test_the_probe_leaves_the_number_of_threads_alone():
    before = torch.get_num_threads()
    has_fast_bfloat16.cache_clear()
    has_fast_bfloat16()
    assert torch.get_num_threads() == before


FAULTS = """
import resource
import numpy as np
from hilum.processor import keep_freed_memory

def faults_of_five_buffers():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.frombuffer(bytearray(64 * 2**20), np.uint8).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

returned = faults_of_five_buffers()
if not keep_freed_memory():
    print("no glibc")
else:
    faults_of_five_buffers()
    print(returned, faults_of_five_buffers())
"""


def test_kept_memory_is_not_faulted_in_again():
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    if done.stdout.startswith("no glibc"):
        pytest.skip("the C library is not glibc")
    returned, kept = map(int, done.stdout.split())
    assert returned > 5 * 10_000, "64 MiB are 16,384 pages"
    assert kept < 100
