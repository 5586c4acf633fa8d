"""The machine itself: processors, memory, disk and network, through /proc and the file system."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedmed.clock import Clock
from fedmed.health.readings import Reading, read
from fedmed.health.sysfs import text


@dataclass(frozen=True)
class Host:
    """The reader; `root` is / but in tests. `data` is the folder whose disk counts."""

    root: Path = Path("/")
    data: Path = Path("/")
    name: str = "host"

    def why_not(self) -> str | None:
        """Why it cannot be read; None where it can."""
        return None if (self.root / "proc/meminfo").is_file() else "there is no /proc/meminfo"

    def is_available(self) -> bool:
        """Whether it can be read."""
        return self.why_not() is None

    def read(self) -> list[Reading]:
        """All of it."""
        memory = self._memory()
        return [
            self._load(),
            read("memory_free", memory.get("MemAvailable"), why="no MemAvailable in /proc/meminfo"),
            _used("memory_used", memory.get("MemAvailable"), memory.get("MemTotal")),
            read("memory_total", memory.get("MemTotal"), why="no MemTotal in /proc/meminfo"),
            *self._disk(),
            read("uptime", self._word("proc/uptime", 0), why="no /proc/uptime"),
            self._loss(),
        ]

    def _word(self, path: str, at: int) -> float | None:
        words = (text(self.root / path) or "").split()
        try:
            return float(words[at])
        except (IndexError, ValueError):
            return None

    def _load(self) -> Reading:
        load = self._word("proc/loadavg", 0)
        return read("cpu_busy", None if load is None else load / (os.cpu_count() or 1), why="no /proc/loadavg")

    def _memory(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for line in (text(self.root / "proc/meminfo") or "").splitlines():
            name, _, rest = line.partition(":")
            words = rest.split()
            if words and words[0].isdigit():
                found[name] = float(words[0]) * 1024  # the file says kB and means KiB
        return found

    def _disk(self) -> Sequence[Reading]:
        try:
            found = os.statvfs(self.data)
        except OSError as error:
            why = error.strerror or type(error).__name__
            return [read(name, None, why=why) for name in ("disk_free", "disk_total", "disk_used")]
        free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        return read("disk_free", free), read("disk_total", total), _used("disk_used", free, total)

    def _loss(self) -> Reading:
        """Of TCP since the boot (RFC 4022: tcpRetransSegs, tcpOutSegs)."""
        lines = [line.split() for line in (text(self.root / "proc/net/snmp") or "").splitlines() if line.startswith("Tcp:")]
        if len(lines) != 2 or len(lines[0]) != len(lines[1]):
            return read("network_loss", None, why="no Tcp in /proc/net/snmp")
        try:
            counts = {name: int(value) for name, value in zip(lines[0][1:], lines[1][1:], strict=True)}
            sent, again = counts["OutSegs"], counts["RetransSegs"]
        except (KeyError, ValueError):
            return read("network_loss", None, why="no OutSegs and RetransSegs in /proc/net/snmp")
        return read("network_loss", again / sent if sent > 0 else None, why="nothing was sent yet")


def _used(name: str, free: float | None, total: float | None) -> Reading:
    if free is None or not total:
        return read(name, None, why="its size is not known")
    return read(name, max(0.0, 1 - free / total))


def storage_latency(folder: Path, clock: Clock) -> Reading:
    """Seconds of one write of 4 KiB in `folder` that is on the disk when it returns."""
    began = clock.now()
    try:
        with tempfile.TemporaryFile(dir=folder) as opened:
            opened.write(bytes(4096))
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        return read("storage_latency", None, why=error.strerror or type(error).__name__)
    return read("storage_latency", clock.now() - began)
