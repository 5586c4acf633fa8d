"""Hosts that are network namespaces of this machine, on one switch; lines that are slow, or cut.

Needs root, `ip` and `tc`. A host resolves the names that it is given and no other, and clinics do not reach each other: the
switch lets them talk to the center and the proxy alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

MADE = "fedmed-"
"""All our namespaces begin so, and go on with the process that made them."""
NAMES = Path("/etc/netns")
"""`ip netns exec` lays the files of this folder's NAME over those of /etc."""
CENTER, PROXY = "center", "proxy"
HOST, PROXY_HOST = "center.example.org", "proxy.hospital.example"
LINE, SWITCH = "wan", "switch"
BURST, QUEUE = "16kb", "200ms"


def ip(*arguments: object, check: bool = True) -> str:
    """`ip` with these arguments; what it said."""
    return subprocess.run(["ip", *map(str, arguments)], capture_output=True, text=True, check=check).stdout


def is_possible() -> bool:
    """Whether this user of this machine may make namespaces, a switch and slow lines."""
    if os.geteuid() != 0 or not all(shutil.which(each) for each in ("ip", "tc", "ss")):
        return False
    with suppress(OSError, subprocess.CalledProcessError), ExitStack() as stack:
        network = Network(stack)
        network.plug(CENTER)
        network.limit(CENTER, 10)
        return True
    return False


@dataclass
class Network:
    """Removed, with all processes in it, when `stack` ends."""

    stack: ExitStack
    prefix: str = f"{MADE}{os.getpid()}"
    hosts: dict[str, str] = field(default_factory=dict)
    """Address by name."""

    def __post_init__(self) -> None:
        sweep()
        self.stack.callback(remove, self.prefix)
        self._make(SWITCH)
        ip("-n", self.space(SWITCH), "link", "add", "br0", "type", "bridge")
        ip("-n", self.space(SWITCH), "link", "set", "br0", "up")

    def space(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def inside(self, name: str) -> list[str]:
        """What stands before a command that runs on that host; the process keeps its number."""
        return ["ip", "netns", "exec", self.space(name)]

    def plug(self, name: str) -> None:
        """A host on the switch."""
        self.hosts[name] = f"10.77.0.{len(self.hosts) + 1}"
        self._make(name)
        switch = self.space(SWITCH)
        ip("-n", switch, "link", "add", name, "type", "veth", "peer", "name", LINE, "netns", self.space(name))
        self.mend(name)
        self._address(name, LINE, self.hosts[name])

    def hide(self, name: str) -> None:
        """A host that has a line to the proxy and no other."""
        self._make(name)
        ip("-n", self.space(PROXY), "link", "add", name, "type", "veth", "peer", "name", LINE, "netns", self.space(name))
        self._address(PROXY, name, "10.78.0.1")
        self._address(name, LINE, "10.78.0.2")

    def cut(self, name: str) -> None:
        """As if somebody pulled the cable out of the switch: nothing gets through, and nothing is told."""
        ip("-n", self.space(SWITCH), "link", "set", name, "down")

    def silence(self, name: str) -> None:
        """As if a router on the way forgot it: nothing gets through, and the line is up at both ends."""
        ip("-n", self.space(SWITCH), "link", "set", name, "nomaster")

    def mend(self, name: str) -> None:
        """After either."""
        ip("-n", self.space(SWITCH), "link", "set", name, "master", "br0", "up")
        if name not in (CENTER, PROXY):
            ip("-n", self.space(SWITCH), "link", "set", name, "type", "bridge_slave", "isolated", "on")

    def packets(self, name: str) -> None:
        """Let a host hand its line packets as a card puts them on it, each with its own headers: `sent` counts them so."""
        ip("-n", self.space(name), "link", "set", "dev", LINE, "gso_max_segs", 1)

    def limit(self, name: str, megabits: float) -> None:
        """Both ways."""
        for space, device in ((name, LINE), (SWITCH, name)):
            shape = ["tbf", "rate", f"{megabits}mbit", "burst", BURST, "latency", QUEUE]
            _tc("-n", self.space(space), "qdisc", "replace", "dev", device, "root", *shape)

    def unlimit(self, name: str) -> None:
        for space, device in ((name, LINE), (SWITCH, name)):
            _tc("-n", self.space(space), "qdisc", "del", "dev", device, "root")

    def sent(self, name: str) -> int:
        """Bytes that left this host so far, with all headers."""
        (line,) = json.loads(ip("-n", self.space(name), "-s", "-j", "link", "show", "dev", LINE))
        return int(line["stats64"]["tx"]["bytes"])

    def sockets(self, name: str, *which: str) -> list[str]:
        """Lines of `ss`, numbers instead of names: protocol, state, two queues, address here, address there."""
        done = subprocess.run([*self.inside(name), "ss", "-Hn", *which], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def _make(self, name: str) -> None:
        space = self.space(name)
        known = {"127.0.0.1": "localhost", "10.77.0.1": HOST, "10.78.0.1": PROXY_HOST}
        (NAMES / space).mkdir(parents=True)
        (NAMES / space / "hosts").write_text("".join(f"{address} {host}\n" for address, host in known.items()))
        (NAMES / space / "resolv.conf").write_text("")
        ip("netns", "add", space)
        ip("-n", space, "link", "set", "lo", "up")

    def _address(self, name: str, device: str, address: str) -> None:
        ip("-n", self.space(name), "addr", "add", f"{address}/24", "dev", device)
        ip("-n", self.space(name), "link", "set", device, "up")


def _tc(*arguments: str) -> None:
    subprocess.run(["tc", *arguments], capture_output=True, check=True)


def remove(prefix: str) -> None:
    """Every namespace of this name, the processes in it, the files for it."""
    spaces = [line.split()[0] for line in ip("netns", "list").splitlines() if line.split()[0].startswith(f"{prefix}-")]
    for space in spaces:
        for process in ip("netns", "pids", space, check=False).split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
    for space in spaces:
        ip("netns", "del", space, check=False)
    for folder in NAMES.glob(f"{prefix}-*"):
        shutil.rmtree(folder)
    with suppress(OSError):
        NAMES.rmdir()


def sweep() -> None:
    """Remove what processes left that were killed before they could."""
    for folder in NAMES.glob(f"{MADE}*"):
        number = folder.name.split("-")[1]
        if not Path("/proc", number).exists():
            remove(f"{MADE}{number}")
