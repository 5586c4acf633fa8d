import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dimse_messages import C_STORE_RQ, C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import decode, encode

from fedmed.dicom.network.commands import ANSWER, STORE, Command, Outcome, read_command, write_answer
from fedmed.dicom.network.pdus import Broken

MR = "1.2.840.10008.5.1.4.1.1.4"


def store_request() -> bytes:
    asked = C_STORE()
    asked.MessageID, asked.AffectedSOPClassUID, asked.AffectedSOPInstanceUID, asked.Priority = 7, MR, "1.2.3", 0
    message = C_STORE_RQ()
    message.primitive_to_message(asked)
    message.command_set.CommandDataSetType = 1
    return encode(message.command_set, True, True)


def test_a_command_of_pynetdicoms_is_read():
    assert read_command(store_request()) == Command(STORE, 7, True, MR, "1.2.3")


@pytest.mark.parametrize("comment", ["", "why", "x" * 100, "grün \\ 3"])
def test_pynetdicom_reads_our_answer(comment):
    data = write_answer(Command(STORE, 7, True, MR, "1.2.3"), Outcome.OUT_OF_RESOURCES, comment)
    found = C_STORE_RSP()
    found.command_set = decode(io.BytesIO(data), True, True)
    assert found.command_set.CommandGroupLength == len(data) - 12
    answer = found.message_to_primitive()
    assert (answer.Status, answer.MessageIDBeingRespondedTo, answer.AffectedSOPInstanceUID) == (0xA700, 7, "1.2.3")
    assert found.command_set.CommandField == STORE | ANSWER
    assert len(answer.ErrorComment or "") <= 64


@pytest.mark.parametrize("at", [7, 9, 20, 30])
def test_a_command_that_is_cut_off_is_refused(at):
    with pytest.raises(Broken):
        read_command(store_request()[:at])


def test_an_element_of_another_group_is_refused():
    with pytest.raises(Broken, match="group 0008"):
        read_command(b"\x08\0\x16\0\0\0\0\0" + store_request())


def test_a_command_without_its_number_is_refused():
    with pytest.raises(Broken, match="0000,0100"):
        read_command(b"")


def test_a_uid_that_is_none_is_refused():
    with pytest.raises(Broken, match="no UID"):
        read_command(store_request().replace(b"1.2.3", b"../.."))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(Broken):
        read_command(data)
