import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from fedmed.dicom.network import pdus
from fedmed.dicom.network.pdus import Broken, Inbox, read_request

MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70"


def requested(*contexts, calling="SCANNER", called="FEDMED") -> bytes:
    asked = A_ASSOCIATE()
    asked.application_context_name = pdus.APPLICATION_CONTEXT
    asked.calling_ae_title, asked.called_ae_title = calling, called
    length, written_by = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, written_by.implementation_class_uid = 16384, "1.2.3"
    asked.user_information = [length, written_by]
    asked.presentation_context_definition_list = list(contexts)
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    found = A_ASSOCIATE_RQ()
    found.from_primitive(asked)
    return found.encode()


def body(pdu: bytes) -> memoryview:
    return memoryview(pdu)[6:]


def test_a_request_of_pynetdicoms_is_read():
    found = read_request(body(requested(build_context(MR, [JPEG, EXPLICIT]), build_context("1.2.840.10008.1.1"))))
    assert (found.called, found.calling, found.version) == ("FEDMED", "SCANNER", 1)
    assert found.contexts[0] == pdus.Context(1, MR, (JPEG, EXPLICIT))
    assert found.contexts[1].abstract == "1.2.840.10008.1.1"


def test_pynetdicom_reads_our_answers():
    request = read_request(body(requested(build_context(MR, [EXPLICIT]), build_context("1.2.3.4", [JPEG]))))
    accepted = A_ASSOCIATE_AC()
    accepted.decode(pdus.accept(request, {1: EXPLICIT, 3: 3}, 131072))
    answer = accepted.to_primitive()
    results = answer.presentation_context_definition_results_list
    assert [(one.context_id, one.result) for one in results] == [(1, 0), (3, 3)]
    assert results[0].transfer_syntax == [EXPLICIT]
    assert answer.maximum_length_received == 131072
    assert (answer.called_ae_title, answer.calling_ae_title) == ("FEDMED", "SCANNER")
    refused = A_ASSOCIATE_RJ()
    refused.decode(pdus.reject(1, 1, 7))
    assert refused.to_primitive().diagnostic == 7


WRONG = {
    "nothing": b"",
    "shorter than its head": bytes(67),
    "an item longer than what is left": bytes(68) + b"\x10\0\xff\xff1.2",
    "an item cut off": bytes(68) + b"\x10\0\0",
    "a context without a number": bytes(68) + b"\x20\0\0\2\1\0",
    "a context without abstract syntax": bytes(68) + b"\x20\0\0\4\1\0\0\0",
    "a UID of letters": bytes(68) + b"\x10\0\0\4abcd",
    "an endless UID": bytes(68) + b"\x10\0\0\x50" + b"1" * 80,
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_is_no_request_is_refused(data):
    with pytest.raises(Broken):
        read_request(memoryview(data))


def test_a_context_number_stands_there_once_and_is_odd():
    data = requested(build_context(MR, [EXPLICIT]), build_context("1.2", [EXPLICIT]))
    at = data.rindex(b"\x20\0")
    for number in (1, 2):
        with pytest.raises(Broken, match="presentation context"):
            read_request(body(data[: at + 4] + bytes((number,)) + data[at + 5 :]))


@given(st.binary(max_size=300))
def test_a_request_of_any_bytes_is_read_or_refused(tail):
    with contextlib.suppress(Broken):
        read_request(memoryview(struct.pack(">HH", 1, 0) + bytes(64) + tail))


@given(st.lists(st.tuples(st.sampled_from([pdus.DATA, pdus.ABORT]), st.binary(max_size=4)), max_size=20), st.data())
def test_pdus_come_out_whole_however_the_stream_is_cut(wanted, data):
    stream = b"".join(struct.pack(">BxI", kind, len(content)) + content for kind, content in wanted)
    inbox, found = Inbox(4096), []
    while stream:
        count = data.draw(st.integers(1, len(stream)))
        inbox.room()[:count] = stream[:count]
        found += [(kind, bytes(content)) for kind, content in inbox.took(count)]
        stream = stream[count:]
    assert found == wanted
    assert inbox.holds == 0


@pytest.mark.parametrize(
    ("kind", "length"),
    [(4, 4097), (4, 2**32 - 1), (1, pdus.MOST_REQUEST + 1), (7, 5), (0, 0), (8, 4), (71, 1), (2, 4), (6, 4)],
)
def test_a_length_is_refused_before_its_bytes_come(kind, length):
    inbox = Inbox(4096)
    inbox.room()[:6] = struct.pack(">BxI", kind, length)
    with pytest.raises(Broken):
        list(inbox.took(6))


@pytest.mark.parametrize("data", [b"\0\0\0", b"\0\0\0\1\1\3", b"\0\0\0\0\1\3", b"\0\0\0\7\1\3abcd", b"\xff\xff\xff\xff\1\3"])
def test_a_value_that_passes_its_pdu_is_refused(data):
    with pytest.raises(Broken):
        list(pdus.fragments(memoryview(data)))
