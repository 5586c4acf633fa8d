from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE, build_context
from pynetdicom.sop_class import MRImageStorage, PatientRootQueryRetrieveInformationModelFind, Verification

from fedmed.clock import SystemClock
from fedmed.dicom.receiving import Receiver, ReceiverConfig
from fedmed.errors import ConfigError, DataError, StoreError
from tests.dicom.senders import (
    MR,
    Box,
    Wire,
    data_set_of,
    dcmtk,
    image,
    program,
    receiving,
    request,
    store,
    write,
)

ROOT = Path(__file__).resolve().parents[2]


def test_echo_is_answered_to_whoever_calls_by_name():
    with receiving() as (receiver, box):
        assert dcmtk("echoscu", receiver).returncode == 0
        wrong = dcmtk("echoscu", receiver, title="OTHER")
    assert wrong.returncode != 0
    assert "Called AE Title Not Recognized" in wrong.stderr + wrong.stdout
    assert box.told[0][2] == "AE title 'OTHER' was called; this is 'FEDMED'"


def test_only_those_named_may_call():
    with receiving(callers=("CT1",)) as (receiver, box):
        assert dcmtk("echoscu", receiver, "-aet", "CT1", []).returncode == 0
        wrong = dcmtk("echoscu", receiver, "-aet", "CT2", [])
    assert "Calling AE Title Not Recognized" in wrong.stderr + wrong.stdout
    assert "'CT2'" in box.told[0][2]


def test_an_address_that_is_not_named_gets_no_word():
    with receiving(addresses=("192.0.2.0/24",)) as (receiver, box):
        assert dcmtk("echoscu", receiver).returncode != 0
    assert box.told == [("127.0.0.1", "", "its address is not among those that may connect")]


def test_what_dcmtk_sends_is_kept_byte_for_byte(tmp_path):
    paths = write(tmp_path, 5)
    with receiving() as (receiver, box):
        done = dcmtk("storescu", receiver, "-aet", "MR1", paths)
    assert done.returncode == 0, done.stderr
    assert [data_set_of(content) for content, _ in box.came] == [data_set_of(path.read_bytes()) for path in paths]
    facts = box.came[0][1]
    assert {
        name: facts[name] for name in ("sop_class", "study", "modality", "by", "from", "address", "transfer_syntax")
    } == {
        "sop_class": MR,
        "study": "1.2",
        "modality": "MR",
        "by": "c-store",
        "from": "MR1",
        "address": "127.0.0.1",
        "transfer_syntax": "1.2.840.10008.1.2.1",
    }
    assert "Doe" not in str(facts)


@pytest.mark.parametrize(
    ("option", "syntax"), [("-xi", "1.2.840.10008.1.2"), ("-xe", "1.2.840.10008.1.2.1"), ("-xd", "1.2.840.10008.1.2.1.99")]
)
def test_uncompressed_syntaxes_are_kept_as_sent(tmp_path, option, syntax):
    [path] = write(tmp_path, 1)
    with receiving() as (receiver, box):
        assert dcmtk("storescu", receiver, option, path).returncode == 0
    [(content, facts)] = box.came
    found = pydicom.dcmread(io.BytesIO(content))
    assert facts["transfer_syntax"] == found.file_meta.TransferSyntaxUID
    if option != "-xd":  # DCMTK proposes explicit little endian beside deflated
        assert facts["transfer_syntax"] == syntax
    assert found.SOPInstanceUID == "1.2.826.9.1"


COMPRESSED = {
    "wg04/CT1_JLSL": ("-xt", "1.2.840.10008.1.2.4.80"),
    "wg04/CT1_J2KR": ("-xv", "1.2.840.10008.1.2.4.90"),
    "wg04/CT1_RLE": ("-xr", "1.2.840.10008.1.2.5"),
    "fo-dicom/GH538-jpeg14sv1.dcm": ("-xs", "1.2.840.10008.1.2.4.70"),
    "misc/lossyJPEG-YBR_FULL_422.dcm": ("-xy", "1.2.840.10008.1.2.4.50"),
    "misc/US_Explicit_Big_RGB.dcm": ("-xb", "1.2.840.10008.1.2.2"),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_real_compressed_files_are_kept_as_sent(name, shared_data):
    path = shared_data / "dicom_zoo" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    option, syntax = COMPRESSED[name]
    with receiving() as (receiver, box):
        done = dcmtk("storescu", receiver, option, path)
    assert done.returncode == 0, done.stderr
    [(content, facts)] = box.came
    assert facts["transfer_syntax"] == syntax
    sent, kept = pydicom.dcmread(path), pydicom.dcmread(io.BytesIO(content))
    assert kept.PixelData == sent.PixelData


def test_an_aborted_association_loses_nothing_that_was_acknowledged(tmp_path):
    with receiving() as (receiver, box):
        dcmtk("storescu", receiver, "--abort", write(tmp_path, 3))
    assert len(box.came) == 3
    assert box.told[-1][2] == "the other side aborted"


def test_a_duplicate_is_a_success(tmp_path):
    [path] = write(tmp_path, 1)
    with receiving() as (receiver, box):
        for _ in range(2):
            assert dcmtk("storescu", receiver, path).returncode == 0
    assert box.came[0][0] == box.came[1][0]


def test_an_unknown_sop_class_is_not_accepted(tmp_path):
    path = tmp_path / "private.dcm"
    path.write_bytes(image(1, SOPClassUID="1.3.12.2.1107.5.9.1"))
    with receiving() as (receiver, box):
        done = dcmtk("storescu", receiver, "-R", path)
        assert done.returncode != 0
        assert not box.came
    with receiving(sop_classes=("1.3.12.2.1107.5.9.1",)) as (receiver, box):
        assert send_one(receiver, path.read_bytes(), "1.3.12.2.1107.5.9.1") == 0
        assert len(box.came) == 1


def send_one(receiver: Receiver, file: bytes, sop_class: str = MR) -> int | None:
    ae = AE(ae_title="PY")
    ae.add_requested_context(sop_class, "1.2.840.10008.1.2.1")
    association = ae.associate("127.0.0.1", receiver.port, ae_title="FEDMED")
    if not association.is_established:
        return None
    found = pydicom.dcmread(io.BytesIO(file))
    status = association.send_c_store(found)
    association.release()
    return status.Status


@pytest.mark.parametrize(
    ("fault", "status"), [(StoreError("full"), 0xA700), (OSError(28, "no space"), 0xA700), (DataError("no"), 0xC000)]
)
def test_what_cannot_be_kept_is_not_acknowledged(fault, status):
    with receiving() as (receiver, box):
        box.fails = fault
        assert send_one(receiver, image(1)) == status
        box.fails = None
        assert send_one(receiver, image(1)) == 0
    assert f"{status:04X}" in box.told[0][2]
    assert box.instances == ["1.2.826.9.1"]


def test_pynetdicom_echoes_stores_and_is_refused_what_is_not_served():
    ae = AE(ae_title="PY")
    ae.requested_contexts = [
        build_context(Verification),
        build_context(MRImageStorage),
        build_context(PatientRootQueryRetrieveInformationModelFind),
    ]
    with receiving() as (receiver, box):
        association = ae.associate("127.0.0.1", receiver.port, ae_title="FEDMED")
        assert association.send_c_echo().Status == 0
        assert [context.abstract_syntax for context in association.rejected_contexts] == [
            PatientRootQueryRetrieveInformationModelFind
        ]
        for number in range(3):
            assert association.send_c_store(pydicom.dcmread(io.BytesIO(image(number)))).Status == 0
        association.release()
        assert association.is_released
    assert box.instances == [f"1.2.826.9.{number}" for number in range(3)]
    assert not box.told


ODD = {
    "another instance": (store("1.2.3", data_set_of(image(1))), 0xA900),
    "no data set": (store("1.2.826.9.1", b""), 0xC000),
    "noise": (store("1.2.826.9.1", b"\xff" * 4096), 0xC000),
    "half of it": (store("1.2.826.9.1", data_set_of(image(1))[:-100]), 0xC000),
    "another SOP class than its context": (store("1.2.826.9.1", data_set_of(image(1)), sop_class=MR + ".1"), 0x0122),
    "C-FIND": (store("1.2.826.9.1", data_set_of(image(1)), field=0x20), 0x0211),
    "C-ECHO under a storage context": (store("1.2.826.9.1", b"", field=0x30), 0x0211),
    "too large": (store("1.2.826.9.1", data_set_of(image(1, 512))), 0xA700),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_refused_and_the_association_goes_on(name):
    data, status = ODD[name]
    with receiving(most_bytes=200_000, pdu_bytes=2**20) as (receiver, box), Wire(receiver) as wire:
        wire.send(request())
        assert wire.hear()[0] == 2
        wire.send(data)
        assert wire.status() == status
        assert not box.came
        wire.send(store("1.2.826.9.2", data_set_of(image(2))))
        assert wire.status() == 0
        assert receiver.room(0)
    assert box.instances == ["1.2.826.9.2"]


def test_memory_is_given_back_whatever_comes():
    with receiving(most_bytes=200_000, memory_bytes=200_000, pdu_bytes=2**20) as (receiver, box):
        for data, _ in ODD.values():
            with Wire(receiver) as wire:
                wire.send(request() + data)
                assert wire.hear()[0] == 2
                wire.hear()
        with Wire(receiver) as wire:
            wire.send(request() + store("1.2.826.9.1", data_set_of(image(1)))[:-5000])
            assert wire.hear()[0] == 2
        with Wire(receiver) as wire:
            wire.send(request() + store("1.2.826.9.3", data_set_of(image(3, 300))))
            assert wire.hear()[0] == 2
            assert wire.status() == 0
        for _ in range(3000):
            if receiver.room(200_000):
                break
            time.sleep(0.01)
        else:
            pytest.fail("memory of ended associations is still held")
    assert box.instances == ["1.2.826.9.3"]


def test_four_associations_at_once_lose_nothing(tmp_path):
    folders = []
    for number in range(4):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        write(folders[-1], 25, first=100 * number)
    with receiving() as (receiver, box), ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda folder: dcmtk("storescu", receiver, "+sd", folder), folders))
    assert [one.returncode for one in sent] == [0] * 4
    wanted = {path.read_bytes()[-500:] for folder in folders for path in folder.iterdir()}
    assert {content[-500:] for content, _ in box.came} == wanted
    assert len(box.came) == 100


def test_associations_are_counted():
    with receiving(associations=2, per_address=2) as (receiver, box), Wire(receiver) as one, Wire(receiver) as two:
        for wire in (one, two):
            wire.send(request())
            assert wire.hear()[0] == 2
        with Wire(receiver) as third:
            third.send(request())
            assert third.hear() == (3, bytes((0, 2, 3, 2)))
        one.send(b"\5\0\0\0\0\4\0\0\0\0")
        assert one.hear()[0] == 6
        for _ in range(100):
            with Wire(receiver) as fourth:
                fourth.send(request())
                if fourth.hear()[0] == 2:
                    break
        else:
            pytest.fail("a place that was left is not given again")
    assert "as many associations as are allowed" in box.told[0][2]


def test_stopping_ends_idle_associations_and_the_port_is_free_again():
    with receiving() as (receiver, box):
        wire = Wire(receiver)
        wire.send(request())
        assert wire.hear()[0] == 2
        before = time.monotonic()
        receiver.stop()
        assert time.monotonic() - before < 5
        assert wire.hear()[0] == 0
        wire.socket.close()
        again = Receiver(ReceiverConfig(port=receiver.port), box.keep, SystemClock())
        again.start()
        again.stop()


DURABLE = """
import os, sys, time
from fedmed.clock import SystemClock
from fedmed.dicom.arrivals import Kept
from fedmed.dicom.receiving import Receiver, ReceiverConfig
def keep(content, facts):
    path = os.path.join(sys.argv[1], facts["sop_instance"])
    with open(path + ".part", "wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    os.rename(path + ".part", path)
    if len(os.listdir(sys.argv[1])) >= 150:
        time.sleep(100)
    return Kept(True)
receiver = Receiver(ReceiverConfig(port=0), keep, SystemClock())
receiver.start()
print(receiver.port, flush=True)
time.sleep(100)
"""


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path):
    sent, kept = tmp_path / "sent", tmp_path / "kept"
    sent.mkdir(), kept.mkdir()
    write(sent, 200, side=256)
    with subprocess.Popen([sys.executable, "-c", DURABLE, kept], stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        port = child.stdout.readline().strip()
        command = [program("storescu"), "-v", "-aec", "FEDMED", "+sd", "127.0.0.1", port, sent]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sender:
            lines = []
            for line in sender.stdout:
                lines.append(line)
                if sum("Received Store Response (Success)" in one for one in lines) == 40:
                    child.send_signal(signal.SIGKILL)
    acknowledged = sum("Received Store Response (Success)" in line for line in lines)
    whole = [path for path in kept.iterdir() if path.suffix != ".part"]
    assert 40 <= acknowledged < 200
    assert len(whole) >= acknowledged
    for path in whole:
        assert pydicom.dcmread(path).SOPInstanceUID == path.name


def test_all_that_is_wrong_with_a_configuration_is_told_at_once():
    wrong = ReceiverConfig(
        host="0.0.0.0",
        port=70000,
        ae_title="a\\b",
        addresses=("10.0.0.1/8",),
        sop_classes=("MR",),
        pdu_bytes=1,
        associations=0,
    )
    with pytest.raises(ConfigError) as raised:
        Receiver(wrong, Box().keep, SystemClock())
    for part in ("AE title", "port 70000", "10.0.0.1/8", "'MR'", "pdu_bytes", "associations 0"):
        assert part in str(raised.value)
    with pytest.raises(ConfigError, match="name in callers or addresses who may send"):
        Receiver(ReceiverConfig(host="0.0.0.0"), Box().keep, SystemClock())


def test_a_port_that_is_taken_is_told():
    with receiving() as (receiver, box):
        second = Receiver(ReceiverConfig(port=receiver.port), box.keep, SystemClock())
        with pytest.raises(ConfigError, match="nothing can listen"):
            second.start()


def test_associations_are_called_by_names_that_none_had_before_until_they_end(tmp_path):
    with receiving() as (receiver, box):
        with Wire(receiver) as one, Wire(receiver) as other:
            for wire in (one, other):
                wire.send(request())
                assert wire.hear()[0] == 2
            names = receiver.associations()
            assert len(names) == 2
            one.send(store("1.2.826.9.1", data_set_of(image(1))))
            assert one.status() == 0
            assert box.came[0][1]["association"] in names
        end = time.monotonic() + 20
        while receiver.associations():
            assert time.monotonic() < end
            time.sleep(0.01)
    with receiving() as (again, box):
        assert dcmtk("storescu", again, "-aet", "MR1", write(tmp_path, 1)).returncode == 0
    assert box.came[0][1]["association"] not in names
