from __future__ import annotations

import hashlib

import pytest

from fedmed.errors import ProtocolRefused
from fedmed.hub.desk import ALL, FolderDesk
from fedmed.hub.messages import MOST_BODY
from fedmed.identity.deviceca import check_device_name


def put(path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_each_device_is_owed_its_own_and_what_is_for_all(tmp_path):
    desk = FolderDesk(tmp_path)
    assert desk.owed("echo") == []
    everybody = put(tmp_path / ALL / "config" / "edge.yaml", b"for all")
    own = put(tmp_path / "echo" / "config" / "edge.yaml", b"for echo")
    release = put(tmp_path / ALL / "release" / "2.0" / "model.onnx", b"model")
    put(tmp_path / ALL / "release" / ".half", b"being written")
    put(tmp_path / ALL / "Release" / "x", b"no kind")
    put(tmp_path / ALL / "release" / "a b", b"no name")
    assert {(each.kind, each.name, each.digest) for each in desk.owed("echo")} == {
        ("config", "edge.yaml", own),
        ("release", "2.0/model.onnx", release),
    }
    assert [each.digest for each in desk.owed("mri") if each.kind == "config"] == [everybody]
    with pytest.raises(ProtocolRefused, match="nothing that 'mri' is owed"):
        desk.read("mri", own, 0)


def test_a_file_that_changed_has_another_digest(tmp_path):
    desk, path = FolderDesk(tmp_path), tmp_path / ALL / "config" / "edge.yaml"
    first = put(path, b"one")
    assert desk.owed("echo")[0].digest == first
    second = put(path, b"other")
    assert desk.owed("echo")[0].digest == second
    path.unlink()
    assert desk.owed("echo") == []


def test_it_is_read_from_an_offset_a_message_at_a_time(tmp_path):
    content = bytes(MOST_BODY) + b"end"
    digest = put(tmp_path / ALL / "release" / "large", content)
    desk = FolderDesk(tmp_path)
    assert len(desk.read("echo", digest, 0)[1]) == MOST_BODY
    assert desk.read("echo", digest, MOST_BODY)[1] == b"end"
    assert desk.read("echo", digest, 1 << 40)[1] == b""


def test_no_device_has_the_name_of_all():
    with pytest.raises(Exception, match="a device cannot be called"):
        check_device_name(ALL)
