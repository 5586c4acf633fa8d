"""Whoever sends to the receiver in tests: DCMTK's programs, pynetdicom, plain sockets; and a box that takes what comes."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmed.clock import SystemClock
from fedmed.dicom.arrivals import Kept
from fedmed.dicom.receiving import Receiver, ReceiverConfig
from tests.dicom.files import dataset, encoded

MR = "1.2.840.10008.5.1.4.1.1.4"


class Box:
    """Keeps in memory, in order; fails where it is told to."""

    def __init__(self) -> None:
        self.came: list[tuple[bytes, Mapping[str, Any]]] = []
        self.told: list[tuple[str, str, str]] = []
        self.fails: Exception | None = None
        self._lock = threading.Lock()

    def keep(self, content: bytes, facts: Mapping[str, Any]) -> Kept:
        with self._lock:
            if self.fails:
                raise self.fails
            is_new = all(content != known for known, _ in self.came)
            self.came.append((content, facts))
            return Kept(is_new)

    def tell(self, address: str, title: str, why: str) -> None:
        with self._lock:
            self.told.append((address, title, why))

    @property
    def instances(self) -> list[str]:
        return [facts["sop_instance"] for _, facts in self.came]


@contextmanager
def receiving(**config: Any) -> Iterator[tuple[Receiver, Box]]:
    box = Box()
    with Receiver(ReceiverConfig(**{"port": 0, **config}), box.keep, SystemClock(), box.tell) as receiver:
        yield receiver, box


def program(name: str) -> str:
    """The path of a program of DCMTK or Orthanc; without it the test is skipped by name."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def dcmtk(name: str, receiver: Receiver, *options: object, title: str = "FEDMED") -> subprocess.CompletedProcess[str]:
    command = [program(name), "-v", "-aec", title, *map(str, options[:-1])]
    files = options[-1] if options else []
    paths = files if isinstance(files, list) else [files]
    command += ["127.0.0.1", str(receiver.port), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def image(number: int, side: int = 64, **attributes: Any) -> bytes:
    """A file of an MR slice."""
    pixels = np.random.default_rng(number).integers(0, 4096, (side, side)).astype("u2")
    names = {"SOPClassUID": MR, "SOPInstanceUID": f"1.2.826.9.{number}", "Modality": "MR", "PatientName": "Doe^Jane"}
    return encoded(dataset(pixels, 12, **{**names, **attributes}))


def write(folder: Path, count: int, side: int = 64, first: int = 1) -> list[Path]:
    paths = []
    for number in range(first, first + count):
        paths.append(folder / f"{number:04}.dcm")
        paths[-1].write_bytes(image(number, side))
    return paths


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def request(called: str = "FEDMED", calling: str = "RAW", abstract: str = MR) -> bytes:
    """An A-ASSOCIATE-RQ by hand, explicit little endian alone."""
    context = bytes((1, 0, 0, 0)) + item(0x30, abstract.encode()) + item(0x40, b"1.2.840.10008.1.2.1")
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3")
    body = struct.pack(">HH", 1, 0) + called.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
    return pdu(1, body + item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context) + item(0x50, user))


def value(data: bytes, *, of_command: bool, last: bool, context: int = 1) -> bytes:
    control = int(of_command) | 2 * int(last)
    return struct.pack(">IBB", len(data) + 2, context, control) + data


def element(number: int, data: bytes) -> bytes:
    data += b"\0" * (len(data) % 2)
    return struct.pack("<HHI", 0, number, len(data)) + data


def store_command(instance: str, sop_class: str = MR, field: int = 1) -> bytes:
    two = struct.Struct("<H").pack
    body = element(2, sop_class.encode()) + element(0x100, two(field)) + element(0x110, two(1)) + element(0x700, two(0))
    body += element(0x800, two(1)) + element(0x1000, instance.encode())
    return element(0, struct.pack("<I", len(body))) + body


def store(instance: str, data_set: bytes, **command: Any) -> bytes:
    """A whole C-STORE in two PDUs."""
    head = value(store_command(instance, **command), of_command=True, last=True)
    return pdu(4, head) + pdu(4, value(data_set, of_command=False, last=True))


def data_set_of(file: bytes) -> bytes:
    """A file without preamble and meta information."""
    length = struct.unpack_from("<I", file, 140)[0]
    return file[144 + length :]


class Wire:
    """A plain connection."""

    def __init__(self, receiver: Receiver, timeout: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", receiver.port), timeout=timeout)

    @classmethod
    def over(cls, line: socket.socket) -> Wire:
        """Over a connection that is there."""
        made = cls.__new__(cls)
        made.socket = line
        return made

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self) -> tuple[int, bytes]:
        """The next PDU; type 0 where the connection has ended."""
        try:
            head = self._exactly(6)
            return (head[0], self._exactly(int.from_bytes(head[2:], "big"))) if head else (0, b"")
        except ConnectionError:
            return 0, b""

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                return b""
            data += more
        return data

    def status(self) -> int:
        """Of the next answer."""
        kind, body = self.hear()
        assert kind == 4, (kind, body)
        at = body.index(struct.pack("<HHI", 0, 0x900, 2)) + 8
        return int.from_bytes(body[at : at + 2], "little")
