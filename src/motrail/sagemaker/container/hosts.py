"""The machines of a job, and how the processes on them find each other."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motrail.errors import FormatError
from motrail.sagemaker.container.places import read_config
from motrail.sagemaker.container.work import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

FILE = "resourceconfig.json"
PORT = 29500
"""On the first host, where all meet; MASTER_PORT and MASTER_ADDR, if set, say another place."""
_PATIENCE = 300  # seconds that a host may take to be found after this one has started


@dataclass(frozen=True)
class Hosts:
    """The machines of a job.

    Attributes:
        names: Of all of them, in the same order everywhere.
        current: Name of this one.
        interface: Network interface by which they reach each other; empty where nobody says.
    """

    names: tuple[str, ...] = ("localhost",)
    current: str = "localhost"
    interface: str = ""

    @property
    def rank(self) -> int:
        """Number of this one, from 0."""
        return self.names.index(self.current)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes what all made together."""
        return self.rank == 0

    def __len__(self) -> int:
        return len(self.names)

    def environment(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """What tells the libraries of several processes which way to go.

        An interface that is not there is left out: the libraries look for one themselves.
        """
        there = {name for _number, name in socket.if_nameindex()}
        if self.interface not in there:
            return {}
        names = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")
        return {name: self.interface for name in names if name not in environ}


def read_hosts(folder: Path) -> Hosts:
    """The machines of a job, by its `resourceconfig.json`; without one this machine is alone.

    Raises:
        FormatError: It says something else than expected.
    """
    path = folder / FILE
    content = read_config(path)
    if not content:
        return Hosts()
    names, current = content.get("hosts"), content.get("current_host")
    interface = content.get("network_interface_name") or ""
    if not (isinstance(names, list) and names and all(isinstance(n, str) and n for n in names)):
        raise FormatError(path, f"expected the names of hosts, found {names!r}", where="hosts")
    if len(set(names)) != len(names):
        raise FormatError(path, f"expected each host once, found {names!r}", where="hosts")
    if not isinstance(current, str) or current not in names:
        raise FormatError(path, f"expected one of hosts, found {current!r}", where="current_host")
    if not isinstance(interface, str):
        raise FormatError(
            path, f"expected text, found {interface!r}", where="network_interface_name"
        )
    return Hosts(tuple(sorted(names, key=_order)), current, interface)


def _order(name: str) -> tuple[str, int, str]:
    """`algo-2` before `algo-10`."""
    start, _, number = name.rpartition("-")
    return (start, int(number), name) if number.isdecimal() else (name, 0, name)


def torchrun(
    hosts: Hosts, processes: int, environ: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """The words before `-m motrail …` that start it in all processes of this host.

    Args:
        hosts: The machines.
        processes: On each of them.
        environ: Where MASTER_ADDR and MASTER_PORT may stand.

    Returns:
        None at all where one process is enough.
    """
    if len(hosts) == 1:
        if processes == 1:
            return ()
        return (*_TORCHRUN, "--standalone", f"--nproc-per-node={processes}")
    return (
        *_TORCHRUN,
        f"--nnodes={len(hosts)}",
        f"--nproc-per-node={processes}",
        # Numbered by us: the process with rank 0 writes the model, and has to be on the first host.
        f"--node-rank={hosts.rank}",
        f"--master-addr={meeting_place(hosts, environ)}",
        f"--master-port={environ.get('MASTER_PORT') or PORT}",
    )


_TORCHRUN = ("-m", "torch.distributed.run")


def meeting_place(hosts: Hosts, environ: Mapping[str, str] = os.environ) -> str:
    """Name or address of the first host."""
    return environ.get("MASTER_ADDR") or hosts.names[0]


def await_name(
    name: str,
    stopped: Callable[[], bool],
    *,
    pause: Callable[[float], None] = time.sleep,
    find: Callable[[str, None], Sequence[object]] = socket.getaddrinfo,
) -> None:
    """Wait until a host has an address: the names of a job become known while it starts.

    Raises:
        FailedError: It has none after five minutes.
    """
    for _ in range(_PATIENCE):
        if stopped():
            return
        try:
            find(name, None)
        except OSError:
            pause(1.0)
        else:
            return
    raise FailedError(f"{name}: the first host of the job has no address after {_PATIENCE} s")
