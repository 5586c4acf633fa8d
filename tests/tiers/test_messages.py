from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.privacy.secagg.encoding import Writer
from fedmed.tiers import messages
from fedmed.tiers.messages import MASKED, PLAIN, TASK, Failed, Masked, Plain, Task, kind_of
from fedmed.tiers.terms import Way

MODEL = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "seen": np.array(3)}


def test_a_task_comes_back_as_it_was():
    read = Task.decode(Task(Way.MASKED, b"header", b"layout", '{"round": 1, "name": "Zürich"}', MODEL).encode())
    assert (read.way, read.header, read.layout, read.order) == (
        Way.MASKED,
        b"header",
        b"layout",
        '{"round": 1, "name": "Zürich"}',
    )
    assert read.model.keys() == MODEL.keys()
    assert all(np.array_equal(read.model[name], value) for name, value in MODEL.items())


def test_answers_come_back_as_they_were():
    assert Masked.decode(Masked(b"envelope", b"lanes").encode()) == Masked(b"envelope", b"lanes")
    read = Plain.decode(Plain(12, {"loss": 0.5, "lesions": None}, MODEL).encode())
    assert (read.cases, dict(read.metrics)) == (12, {"loss": 0.5, "lesions": None})
    assert Failed.decode(Failed("why").encode()) == Failed("why")
    assert len(Failed.decode(Failed("x" * 10_000).encode()).reason) == 500


@pytest.mark.parametrize(
    "metrics", [b"", b"[]", b"7", b'{"loss":"a"}', b'{"loss":true}', b'{"loss":NaN}', b'{"loss":1e999}', b"{" * 5000]
)
def test_metrics_that_are_none_are_refused(metrics):
    good = Plain(1, {}, MODEL).encode()
    with pytest.raises(ProtocolRefused, match="malformed"):
        Plain.decode(good.replace((2).to_bytes(4, "big") + b"{}", len(metrics).to_bytes(4, "big") + metrics))


def test_a_number_that_no_float_holds_is_refused():
    with pytest.raises(ProtocolRefused, match="no finite number"):
        messages._metrics('{"loss":1' + "0" * 400 + "}")


@pytest.mark.parametrize(("way", "header"), [(1, b""), (2, b"header"), (0, b""), (0, b"header")])
def test_a_task_whose_way_and_header_contradict_each_other_is_refused(way, header):
    data = Writer(TASK).number(way, 1).text(header).text(b"").text(b"{}").text(b"").bytes()
    with pytest.raises(ProtocolRefused):
        Task.decode(data)


@pytest.mark.parametrize("model", [b"", b"12345678", b"\xff" * 64, b"\x02" + bytes(7) + b"[]"])
def test_tensors_that_are_none_are_refused(model):
    data = Writer(TASK).number(2, 1).text(b"").text(b"").text(b"{}").text(model).bytes()
    with pytest.raises(ProtocolRefused, match="a device's tensors"):
        Task.decode(data)


def test_an_order_that_is_no_text_is_refused():
    data = Writer(TASK).number(2, 1).text(b"").text(b"").text(b"\xff\xfe").text(b"").bytes()
    with pytest.raises(ProtocolRefused, match="no UTF-8"):
        Task.decode(data)


READERS = {TASK: Task.decode, MASKED: Masked.decode, PLAIN: Plain.decode}
WHOLE = {
    TASK: Task(Way.PLAIN, b"", b"layout", "{}", MODEL).encode(),
    MASKED: Masked(b"envelope", b"vector").encode(),
    PLAIN: Plain(3, {"loss": 1.0}, MODEL).encode(),
}


@given(st.sampled_from(list(READERS)), st.integers(0, 2**16), st.integers(0, 7))
def test_a_flipped_bit_or_a_cut_is_refused_or_read_but_never_an_accident(kind, place, bit):
    whole = WHOLE[kind]
    for data in (whole[: place % len(whole)], flipped(whole, place % len(whole), bit), whole + b"x"):
        try:
            READERS[kind](data)
        except ProtocolRefused:
            continue


def flipped(data: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)


def test_a_message_too_short_has_no_kind():
    assert kind_of(b"FMSA\1") is None
