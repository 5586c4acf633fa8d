"""The DICOM port against whoever reaches it: noise, lies about lengths, silence, trickles, a thousand connections."""

from __future__ import annotations

import os
import random
import resource
import socket
import struct
import threading
import time

import pytest

from tests.dicom.senders import (
    Wire,
    data_set_of,
    dcmtk,
    element,
    image,
    item,
    pdu,
    receiving,
    request,
    store,
    store_command,
    value,
    write,
)

OPEN = request()
STORED = store("1.2.826.9.1", data_set_of(image(1)))
COMMAND = value(store_command("1.2.826.9.1"), of_command=True, last=True)
DATA = value(b"abcd", of_command=False, last=True)

HOSTILE = {
    "noise": os.urandom(4096),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
    "four gigabytes of request": struct.pack(">BxI", 1, 2**32 - 1),
    "four gigabytes of data": OPEN + struct.pack(">BxI", 4, 2**32 - 1),
    "data before a request": STORED,
    "a release before a request": pdu(5, bytes(4)),
    "two requests": OPEN + OPEN,
    "an answer that nobody asked for": OPEN + pdu(2, bytes(100)),
    "a context that was not accepted": OPEN + pdu(4, value(b"ab", of_command=True, last=True, context=3)),
    "data without a command": OPEN + pdu(4, DATA),
    "a command within a message": OPEN + pdu(4, COMMAND) + pdu(4, COMMAND),
    "a release within a message": OPEN + pdu(4, COMMAND) + pdu(5, bytes(4)),
    "an endless command": OPEN + pdu(4, value(bytes(14_000), of_command=True, last=False)) * 2,
    "a value longer than its PDU": OPEN + pdu(4, struct.pack(">IBB", 2**31, 1, 3) + b"abcd"),
    "a value without a head": OPEN + pdu(4, b"\0\0\0"),
    "a command of other elements": OPEN + pdu(4, value(b"\x10\0\x10\0\4\0\0\0Doe^", of_command=True, last=True)),
    "a command without a number": OPEN + pdu(4, value(element(0x100, b"\1\0"), of_command=True, last=True)),
    "a path for a UID": OPEN + pdu(4, value(store_command("../../etc/passwd"), of_command=True, last=True)),
    "items without an end": pdu(1, struct.pack(">HH", 1, 0) + bytes(64) + item(0x20, b"\1\0\0\0" + b"\x30\0\xff\xff")),
}


def still_serves(receiver, box, tmp_path) -> None:
    before = len(box.came)
    assert dcmtk("echoscu", receiver).returncode == 0
    assert dcmtk("storescu", receiver, write(tmp_path, 1, first=77)).returncode == 0
    assert box.instances[before:] == ["1.2.826.9.77"]


def test_a_hostile_peer_is_aborted_and_leaves_nothing(tmp_path):
    with receiving() as (receiver, box):
        for name, data in HOSTILE.items():
            with Wire(receiver) as wire:
                wire.send(data)
                kinds = [wire.hear()[0]]
                while kinds[-1] not in (0, 7):
                    kinds.append(wire.hear()[0])
                assert kinds[-1] == 7, (name, kinds)
        assert not box.came
        assert len(box.told) == len(HOSTILE)
        still_serves(receiver, box, tmp_path)


def test_mutations_of_a_good_association_never_wedge_it(tmp_path):
    good, chance = OPEN + STORED[:2000] + STORED + pdu(5, bytes(4)), random.Random(3)
    with receiving(stall_s=0.3, idle_s=0.3, request_s=0.3) as (receiver, box):
        for _ in range(150):
            data = bytearray(good)
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(min(len(data), 900))] = chance.randrange(256)
            with Wire(receiver) as wire:
                try:
                    wire.send(bytes(data))
                    wire.socket.shutdown(socket.SHUT_WR)
                    while wire.hear()[0]:
                        pass
                except OSError:
                    continue
        box.came.clear()
        still_serves(receiver, box, tmp_path)
        assert receiver.room(receiver.config.memory_bytes)


CROWD = 1000 if resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 2500 else 300
SILENT = {
    "says nothing": b"",
    "half a request": OPEN[:40],
    "an association and no message": OPEN,
    "half a head": OPEN + STORED[:3],
    "half an object": OPEN + STORED[:4000],
}


@pytest.mark.parametrize("name", SILENT)
def test_who_goes_silent_is_cut(name):
    with receiving(request_s=0.2, idle_s=0.2, stall_s=0.2) as (receiver, box), Wire(receiver) as wire:
        wire.send(SILENT[name])
        kinds = [wire.hear()[0]]
        while kinds[-1] not in (0, 7):
            kinds.append(wire.hear()[0])
        assert kinds[-1] == 7
    assert "too long" in box.told[0][2]
    assert not box.came


def test_who_trickles_is_cut():
    with receiving(stall_s=0.5) as (receiver, box), Wire(receiver) as wire:
        wire.send(OPEN + STORED[:300])
        for sent in range(300, len(STORED)):
            if box.told:
                break
            wire.send(STORED[sent : sent + 1])
            time.sleep(0.02)
    assert sent < 500
    assert "too slowly" in box.told[0][2]


def test_a_thousand_silent_connections_keep_nobody_out(tmp_path):
    with receiving() as (receiver, box):
        crowd = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(CROWD)]
        try:
            still_serves(receiver, box, tmp_path)
            assert sum(thread.name.startswith("dicom-from") for thread in threading.enumerate()) < 100
        finally:
            for connection in crowd:
                connection.close()


def test_half_received_memory_is_bounded_for_all_together():
    big = store("1.2.826.9.5", data_set_of(image(5, 300)))
    half = OPEN + big[: len(big) - 1000]
    limits = {"most_bytes": 200_000, "memory_bytes": 300_000, "pdu_bytes": 2**20, "stall_s": 60.0}
    with receiving(**limits) as (receiver, box), Wire(receiver) as one, Wire(receiver) as two:
        one.send(OPEN + pdu(4, COMMAND) + pdu(4, value(bytes(190_000), of_command=False, last=False)))
        assert one.hear()[0] == 2
        for _ in range(3000):
            if not receiver.room(150_000):
                break
            receiver.room(-150_000)
            time.sleep(0.01)
        else:
            pytest.fail("what is half received is not counted")
        two.send(half)
        assert two.hear()[0] == 2
        two.send(big[len(big) - 1000 :])
        assert two.status() == 0xA700
    assert not box.came
    assert "no memory" in box.told[0][2]
