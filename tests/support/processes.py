"""Processes of the tests that kill, by what the system says of them."""

import subprocess
import time
from pathlib import Path

PATIENCE_S = 15.0
SHARED_MEMORY = Path("/dev/shm")


def shared_memory() -> set[str]:
    """Blocks of shared memory that torch or Python have made; others' semaphores come and go."""
    names = {path.name for path in SHARED_MEMORY.iterdir()}
    return {name for name in names if name.startswith(("torch_", "psm_"))}


def processes_of(session: int) -> dict[int, str]:
    """Command lines of the live processes that belong to a session, by process id."""
    said = subprocess.run(
        ["ps", "-ww", "-s", str(session), "-o", "pid=,stat=,args="],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    rows = [line.split(None, 2) for line in said.splitlines()]
    return {int(number): command for number, state, command in rows if not state.startswith("Z")}


def left_of(session: int) -> dict[int, str]:
    """Processes of a session that do not end within a patient time."""
    deadline = time.monotonic() + PATIENCE_S
    while (alive := processes_of(session)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return alive


def parent_of(process: int) -> int:
    """Parent's process id."""
    said = subprocess.run(
        ["ps", "-o", "ppid=", "-p", str(process)], capture_output=True, text=True, check=True
    ).stdout
    return int(said)
