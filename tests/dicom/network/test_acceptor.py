from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.dicom.network import pdus
from fedmed.dicom.network.acceptor import Acceptor, End, Keep, Policy, Say, stores
from fedmed.dicom.network.commands import NO_DATA
from fedmed.dicom.network.pdus import Broken, Inbox
from tests.dicom.senders import MR, element, pdu, request, store, store_command, value

EXPLICIT = "1.2.840.10008.1.2.1"
RELEASE, ABORT = pdu(5, bytes(4)), pdu(7, bytes(4))


class Held:
    """Memory that is counted."""

    def __init__(self, most: int = 10_000) -> None:
        self.now, self.most = 0, most

    def __call__(self, count: int) -> bool:
        if count > 0 and self.now + count > self.most:
            return False
        self.now += count
        assert self.now >= 0
        return True


def policy(**changes) -> Policy:
    found = {
        "ae_title": "FEDMED",
        "callers": frozenset(),
        "stores": stores(frozenset()),
        "transfers": frozenset([EXPLICIT]),
        "pdu_bytes": 4096,
        "most_bytes": 9_000,
    }
    return Policy(**{**found, **changes})


def heard(data: bytes, held: Held | None = None, full: bool = False, **changes):
    """All steps after `data`; a Broken as the last one."""
    held, inbox, steps = held or Held(), Inbox(4096), []
    acceptor = Acceptor(policy(**changes), held)
    try:
        for start in range(0, len(data), 1000):
            piece = data[start : start + 1000]
            inbox.room()[: len(piece)] = piece
            for kind, body in inbox.took(len(piece)):
                for step in acceptor.take(kind, body, full):
                    steps.append(step)
                    if isinstance(step, Keep):
                        held(-len(step.data))
    except Broken as broken:
        steps.append(broken)
    acceptor.close()
    assert held.now == 0
    return steps


def test_an_association_from_request_to_release():
    steps = heard(request() + store("1.2.3", b"data set") + store("1.2.4", b"x" * 3000) + RELEASE)
    assert [type(step) for step in steps] == [Say, Keep, Keep, End]
    assert (steps[1].data, steps[1].command.instance, steps[1].transfer_syntax) == (b"data set", "1.2.3", EXPLICIT)
    assert steps[3] == End(pdus.released())


def test_a_data_set_in_many_pieces_is_put_together():
    pieces = [bytes([number]) * 100 for number in range(20)]
    data = request() + pdu(4, value(store_command("1.2.3"), of_command=True, last=True))
    for number, piece in enumerate(pieces):
        data += pdu(4, value(piece, of_command=False, last=number == len(pieces) - 1))
    assert heard(data)[1].data == b"".join(pieces)


def test_a_command_in_pieces_and_with_its_data_in_one_pdu_is_put_together():
    command = store_command("1.2.3")
    body = value(command[:50], of_command=True, last=False) + value(command[50:], of_command=True, last=True)
    [_, keep] = heard(request() + pdu(4, body + value(b"data", of_command=False, last=True)))
    assert (keep.data, keep.command.instance) == (b"data", "1.2.3")


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"ae_title": "OTHER"}, (1, 1, 7)),
        ({"callers": frozenset(["CT"])}, (1, 1, 3)),
        ({"full": True}, (2, 3, 2)),
    ],
)
def test_who_may_not_is_refused_with_the_standards_reason(changes, answer):
    [step] = heard(request() + store("1.2.3", b""), **changes)
    assert step.data == pdus.reject(*answer)
    assert step.why


def test_another_version_and_another_application_are_refused():
    asked = bytearray(request())
    asked[7] = 2
    assert heard(bytes(asked))[0].data == pdus.reject(1, 2, 2)
    assert heard(request().replace(b"10008.3.1.1.1", b"10008.3.1.1.2"))[0].data == pdus.reject(1, 1, 2)


def test_a_context_without_a_class_or_a_syntax_of_ours_is_not_accepted():
    [said, broken] = heard(request(abstract="1.2.3") + store("1.2.3", b"x"))
    assert bytes((1, 0, 3, 0)) in said.data
    assert isinstance(broken, Broken)
    [said] = heard(request(), transfers=frozenset(["1.2.840.10008.1.2.4.70"]))
    assert bytes((1, 0, 4, 0)) in said.data


def test_what_has_no_room_is_thrown_away_and_answered():
    big = [value(bytes(3000), of_command=False, last=last) for last in (False, False, False, True)]
    data = request() + pdu(4, value(store_command("1.2.3"), of_command=True, last=True)) + b"".join(pdu(4, b) for b in big)
    for changes in ({}, {"held": Held(5000), "most_bytes": 10**6}):
        [_, said, keep] = heard(data + store("1.2.4", b"next"), **changes)
        assert said.data[-200:].find(b"\x00\xa7") > 0
        assert "A700" in said.why
        assert keep.command.instance == "1.2.4"


def test_a_cancel_is_passed_over():
    cancel = element(0x100, b"\xff\x0f") + element(0x120, b"\1\0") + element(0x800, NO_DATA.to_bytes(2, "little"))
    steps = heard(request() + pdu(4, value(cancel, of_command=True, last=True)) + RELEASE)
    assert [type(step) for step in steps] == [Say, End]


def test_after_its_end_nothing_is_taken():
    for last in (RELEASE, ABORT):
        steps = heard(request() + last + store("1.2.3", b"x") + request())
        assert [type(step) for step in steps] == [Say, End]


PDUS = st.one_of(
    st.sampled_from([request(), RELEASE, ABORT, store("1.2.3", b"abcd"), store("1.2.3", b"abcd", sop_class=MR + ".1")]),
    st.builds(
        lambda data, of_command, last, context: pdu(4, value(data, of_command=of_command, last=last, context=context)),
        st.one_of(st.binary(max_size=3000), st.just(store_command("1.2.3")), st.just(bytes(4000))),
        st.booleans(),
        st.booleans(),
        st.sampled_from([1, 1, 1, 3]),
    ),
    st.builds(pdu, st.integers(0, 255), st.binary(max_size=100)),
)


@given(st.lists(PDUS, max_size=12), st.booleans())
def test_any_pdus_in_any_order_leave_no_memory_held(found, opened):
    steps = heard((request() if opened else b"") + b"".join(found))
    ends = [number for number, step in enumerate(steps) if isinstance(step, (End, Broken))]
    assert not ends or all(isinstance(step, Broken) for step in steps[ends[0] + 1 :])
