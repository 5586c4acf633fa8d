"""Where a receiver listens, who may send to it, and how much."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from fedmed.dicom.arrivals import MOST_BYTES
from fedmed.dicom.network.pdus import UID
from fedmed.dicom.network.tls import ReceiverTls


@dataclass(frozen=True)
class ReceiverConfig:
    """The defaults let this machine alone send, and fit a box of four gigabytes."""

    host: str = "127.0.0.1"
    port: int = 11112
    """0 takes a free one."""
    ae_title: str = "FEDMED"
    callers: tuple[str, ...] = ()
    """AE titles that may call; none named: all. A title is no proof, anybody can write it."""
    addresses: tuple[str, ...] = ()
    """Addresses or networks ("10.1.2.0/24") that may connect; none named: all."""
    sop_classes: tuple[str, ...] = ()
    """What is taken; none named: every storage class of the standard."""
    associations: int = 16
    per_address: int = 8
    waiting: int = 32
    """Connections without an association; with one more, the oldest of them is cut."""
    most_bytes: int = MOST_BYTES
    """Of one instance."""
    memory_bytes: int = 2 * MOST_BYTES
    """Of all that is half received."""
    pdu_bytes: int = 128 * 2**10
    """What DCMTK sends at most."""
    request_s: float = 15.0
    """For a new connection to ask for an association (the ARTIM timer)."""
    idle_s: float = 120.0
    """Between messages."""
    stall_s: float = 30.0
    """Without a byte, within a message."""
    tls: ReceiverTls | None = None
    """With it the port takes TLS alone, from senders with a certificate."""

    def faults(self) -> list[str]:
        """What is wrong with it, all at once."""
        titles = [title for title in (self.ae_title, *self.callers) if not _is_title(title)]
        found = [f"AE title {title!r}: 1 to 16 printable ASCII characters without backslash" for title in titles]
        if not 0 <= self.port < 2**16:
            found.append(f"port {self.port}: 0 to 65535")
        for name in self.addresses:
            try:
                ipaddress.ip_network(name)
            except ValueError as error:
                found.append(f"address {name!r}: {error}")
        found += [f"SOP class {uid!r}: it is no UID" for uid in self.sop_classes if not UID.fullmatch(uid)]
        if not 4096 <= self.pdu_bytes <= 2**20:
            found.append(f"pdu_bytes {self.pdu_bytes}: 4096 to {2**20}")
        counts = ("associations", "per_address", "waiting", "most_bytes", "request_s", "idle_s", "stall_s")
        found += [f"{name} {getattr(self, name)}: more than 0" for name in counts if getattr(self, name) <= 0]
        if self.memory_bytes < self.most_bytes:
            found.append(f"memory_bytes {self.memory_bytes}: no less than most_bytes {self.most_bytes}")
        if not (self.callers or self.addresses or self.tls or _is_loopback(self.host)):
            found.append(f"host {self.host} is open to the network; name in callers or addresses who may send, or use TLS")
        return found


def _is_title(title: str) -> bool:
    """PS3.5 table 6.2-1, AE."""
    return 0 < len(title) <= 16 and title.strip() == title and title.isascii() and title.isprintable() and "\\" not in title


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
