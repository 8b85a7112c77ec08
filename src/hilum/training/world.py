"""A rank's place among the others, and the three collectives training needs.

With one rank there is no process group and every collective is the identity, so the same loop
runs in a notebook, in a test and on a cluster.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from hilum.errors import require

__all__ = [
    "World",
    "all_reduce_sum",
    "gather_rows",
    "meeting_address",
    "process_group",
    "serve_rendezvous",
]

TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where one training process stands.

    Attributes:
        rank: 0 .. num_ranks - 1. local_rank: position among the ranks of the same host.
        rendezvous: "host:port" of rank 0's store; empty for one rank.
        num_threads: CPU threads this rank computes with.
        gpu: address of the GPU that Spark gave this rank; None where it manages none.
        task: the launcher's own number of this rank (Spark's partition), used in its messages.
    """

    rank: int = 0
    num_ranks: int = 1
    local_rank: int = 0
    host: str = "localhost"
    rendezvous: str = ""
    num_threads: int = 1
    gpu: str | None = None
    task: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.rank < self.num_ranks, "rank", f"in [0, {self.num_ranks})", self.rank)
        require(self.num_threads > 0, "num_threads", "positive", self.num_threads)

    @property
    def is_leader(self) -> bool:
        """Whether this is rank 0, which writes history and checkpoints."""
        return self.rank == 0


def meeting_address(own: str, hosts: Iterable[str]) -> str:
    """Where the other ranks' hosts find this one: its name, unless that is its own loopback here.

    Debian's installer gives a host's own name the address 127.0.1.1. Then it is the address from
    which another of the hosts is reached.
    """
    if not _resolve(own).startswith("127."):
        return own
    for host in hosts:
        address = _address_towards(host)
        if host != own and address is not None and not address.startswith("127."):
            return address
    return own


def serve_rendezvous(host: str) -> tuple[dist.TCPStore, str]:
    """Open rank 0's store on a port the system picks; returns it and its "host:port".

    The port is bound before it is announced, so no other process can take it in between.
    The store must stay alive for as long as the group.
    """
    store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
    return store, f"{host}:{store.port}"


@contextmanager
def process_group(world: World, store: dist.TCPStore | None = None) -> Iterator[None]:
    """Join the process group for the duration of a block, and leave it whatever happens.

    A stale default group (of a reused Spark Python worker) is destroyed first: torch would refuse
    a second one. The network interface is the one that reaches rank 0, because gloo's own guess
    (the address of the host name) is often the loopback or a container bridge.
    """
    if world.num_ranks == 1:
        yield
        return
    if dist.is_initialized():
        dist.destroy_process_group()
    host, port = world.rendezvous.rsplit(":", 1)
    interface = _interface_towards(host)
    if interface is not None:
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface
    if store is None:
        store = dist.TCPStore(host, int(port), is_master=False, timeout=TIMEOUT)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=store,
        rank=world.rank,
        world_size=world.num_ranks,
        timeout=TIMEOUT,
    )
    try:
        yield
    finally:
        # gloo aborts the process at exit when the group is still there.
        dist.destroy_process_group()


def all_reduce_sum(tensor: Tensor, world: World) -> Tensor:
    """Sum over ranks, in place; every rank gets the same result."""
    if world.num_ranks > 1:
        dist.all_reduce(tensor)
    return tensor


def gather_rows(rows: Tensor, sizes: list[int], world: World) -> Tensor:
    """Concatenate the rows (n_rank, ...) of all ranks in rank order, on every rank.

    Args:
        sizes: rows of each rank, known to all by arithmetic.
    """
    if world.num_ranks == 1:
        return rows
    padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def _resolve(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return ""  # the store will say what is wrong with it


def _address_towards(host: str) -> str | None:
    """This machine's address on the way to a host; None where there is no way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))  # UDP: routes, sends nothing
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _interface_towards(host: str) -> str | None:
    """Name of the network interface whose address is used to reach a host (Linux), else None."""
    try:
        import fcntl
    except ImportError:  # not Linux or macOS: gloo must guess
        return None
    own_address = _address_towards(host)
    if own_address is None:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                # SIOCGIFADDR, see netdevice(7)
                answer = fcntl.ioctl(probe.fileno(), 0x8915, request)
            except OSError:
                continue
            if socket.inet_ntoa(answer[20:24]) == own_address:
                return name
    return None
