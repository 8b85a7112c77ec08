"""Hosts with names, addresses and limited links of their own: network namespaces on a bridge.

    with hosts(2) as (gateway, machines):
        subprocess.run([*machines[0].before, "hostname"])
        machines[1].link("down")

Needs root and iproute2. Namespaces outlive the process that made them, so each is called by its
process, and the next start removes those of processes that are gone.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PREFIX = "hlt"
RATE = "root tbf rate 1gbit burst 1mb latency 50ms"
HOSTS_FILES = Path("/etc/netns")


class HostsMissingError(Exception):
    """Namespaces cannot be made here; the message says why."""


@dataclass(frozen=True)
class Machine:
    """One host: its name, its address, and what a command line on it begins with."""

    name: str
    address: str
    space: str
    before: tuple[str, ...]

    def link(self, state: str) -> None:
        """Pull its cable ("down") or plug it in again ("up")."""
        _ip("-n", self.space, "link", "set", "eth0", state)


@contextmanager
def hosts(count: int) -> Iterator[tuple[str, list[Machine]]]:
    """Hosts on one bridge; yields this process's address there, and the hosts.

    Each host's own name is an address of its loopback (127.0.1.1), as Debian's installer writes it;
    each also has a second network that leads nowhere.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise HostsMissingError("network namespaces need root and iproute2")
    _remove_leftovers()
    stamp = f"{PREFIX}{os.getpid()}"
    net = f"10.{20 + os.getpid() % 200}.77"
    names = [f"node{i + 1}" for i in range(count)]
    try:
        _ip("link", "add", f"{stamp}b", "type", "bridge")
        _ip("addr", "add", f"{net}.1/24", "dev", f"{stamp}b")
        _ip("link", "set", f"{stamp}b", "up")
        yield f"{net}.1", [_machine(stamp, net, i, names) for i in range(count)]
    finally:
        _remove(stamp)


def _machine(stamp: str, net: str, number: int, names: list[str]) -> Machine:
    space, outer, address = f"{stamp}-{number}", f"{stamp}v{number}", f"{net}.{11 + number}"
    _ip("netns", "add", space)
    _ip(*f"link add {outer} type veth peer name eth0 netns {space}".split())
    _ip(*f"link set {outer} master {stamp}b up".split())
    _ip(*f"-n {space} addr add {address}/24 dev eth0".split())
    _ip(*f"-n {space} link add aside type veth peer name nowhere".split())
    _ip(*f"-n {space} addr add 172.31.{number}.1/24 dev aside".split())
    for device in ("lo", "aside", "nowhere", "eth0"):
        _ip("-n", space, "link", "set", device, "up")
    _run("ip", "netns", "exec", space, "tc", "qdisc", "add", "dev", "eth0", *RATE.split())
    own = f"127.0.0.1 localhost\n127.0.1.1 {names[number]}\n"
    others = [f"{net}.{11 + i} {name}\n" for i, name in enumerate(names) if i != number]
    file = HOSTS_FILES / space / "hosts"
    file.parent.mkdir(parents=True)
    file.write_text(own + "".join(others))
    named = f'hostname {names[number]} && exec "$0" "$@"'
    before = ("ip", "netns", "exec", space, "unshare", "--uts", "sh", "-c", named)
    return Machine(names[number], address, space, before)


def _remove_leftovers() -> None:
    for line in _run("ip", "netns", "list").splitlines():
        stamp = line.split()[0].partition("-")[0]
        process = stamp.removeprefix(PREFIX)
        if stamp.startswith(PREFIX) and process.isdigit() and not Path("/proc", process).exists():
            _remove(stamp)


def _remove(stamp: str) -> None:
    spaces = [line.split()[0] for line in _run("ip", "netns", "list").splitlines()]
    for space in (name for name in spaces if name.startswith(f"{stamp}-")):
        with suppress(HostsMissingError):
            _ip("link", "del", space.replace("-", "v"))  # goes with its space, but later
        _ip("netns", "del", space)
        shutil.rmtree(HOSTS_FILES / space, ignore_errors=True)
    with suppress(HostsMissingError):
        _ip("link", "del", f"{stamp}b")


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostsMissingError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
