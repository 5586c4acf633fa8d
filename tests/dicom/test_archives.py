from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from fedmed.dicom.inspection import inspect_file
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Status, Untrusted
from fedmed.dicom.sources import reopen, walk
from tests.dicom.files import dataset, encoded

FILE = encoded(dataset(np.arange(20, dtype="<u2").reshape(4, 5)))


def packed(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def reason(source) -> Reason:
    with pytest.raises(Untrusted) as error:
        source.span(0, 1)
    return error.value.reason


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_like_files(tmp_path: Path, method: int) -> None:
    packed(tmp_path / "study.zip", {"s/2.dcm": FILE, "s/1.dcm": FILE, "readme.txt": b"hello"}, method)
    records = {source.name: inspect_file(source) for source in walk(tmp_path)}
    assert list(records) == ["study.zip!readme.txt", "study.zip!s/1.dcm", "study.zip!s/2.dcm"]
    assert records["study.zip!readme.txt"].status is Status.NOT_DICOM
    assert records["study.zip!s/1.dcm"].shape == (4, 5)
    assert records["study.zip!s/1.dcm"].pixel_sha256 == records["study.zip!s/2.dcm"].pixel_sha256


def test_members_are_found_again_by_their_place(tmp_path: Path) -> None:
    packed(tmp_path / "study.zip", {"1.dcm": FILE, "2.dcm": FILE + bytes(2)})
    for source in walk(tmp_path):
        again = reopen(source.place, source.name)
        assert (again.name, again.size, again.head(10_000)) == (source.name, source.size, source.head(10_000))


def test_names_are_shown_and_never_used(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    packed(root / "slip.zip", {"../../escaped.dcm": FILE, "/absolute.dcm": FILE, "C:\\x.dcm": FILE})
    records = [inspect_file(source) for source in walk(root)]
    assert {record.status for record in records} == {Status.OK}
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["slip.zip"]


def test_damaged_and_encrypted_members_are_refused_one_by_one(tmp_path: Path) -> None:
    path = packed(tmp_path / "study.zip", {"1.dcm": FILE, "2.dcm": FILE, "3.dcm": FILE}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    second = content.index(FILE, content.index(FILE) + 1)
    content[second + len(FILE) - 3] ^= 1  # in its pixels: only the checksum can tell
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
        offset = archive.getinfo("3.dcm").header_offset
    third = content.index(b"PK\1\2", content.index(b"PK\1\2", directory + 1) + 1)
    content[third + 8] |= 1
    content[offset + 6] |= 1
    path.write_bytes(content)
    records = [inspect_file(source) for source in walk(tmp_path)]
    assert [record.status for record in records] == [Status.OK, Status.QUARANTINED, Status.QUARANTINED]
    assert "BadZipFile" in records[1].detail
    assert "encrypted" in records[2].detail


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_may_ask_for_any_memory_are_refused(tmp_path: Path, method: int) -> None:
    packed(tmp_path / "study.zip", {"1.dcm": FILE}, method)
    [source] = walk(tmp_path)
    assert reason(source) is Reason.UNREADABLE


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 0.99])
def test_a_damaged_archive_is_refused_as_a_whole(tmp_path: Path, share: float) -> None:
    whole = packed(tmp_path / "study.zip", {"1.dcm": FILE}).read_bytes()
    (tmp_path / "study.zip").write_bytes(whole[: int(share * len(whole))])
    [source] = walk(tmp_path)
    assert source.name == "study.zip"
    assert reason(source) is Reason.UNREADABLE


def test_archives_in_archives_are_refused(tmp_path: Path) -> None:
    inner = packed(tmp_path / "inner.zip", {"1.dcm": FILE}).read_bytes()
    (tmp_path / "inner.zip").unlink()
    packed(tmp_path / "outer.zip", {"inner.zip": inner})
    [source] = walk(tmp_path)
    assert source.name == "outer.zip!inner.zip"
    assert reason(source) is Reason.UNREADABLE


def test_zstandard(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    frame = imagecodecs.zstd_encode(FILE)
    (tmp_path / "1.dcm.zst").write_bytes(frame)
    [source] = walk(tmp_path)
    assert source.size == len(FILE)
    assert inspect_file(source).shape == (4, 5)
    assert inspect_file(reopen(source.place, source.name)) == inspect_file(source)
    for broken in (frame[:-4], frame[: len(frame) // 2], frame[:8] + b"\xff" * 40):
        (tmp_path / "1.dcm.zst").write_bytes(broken)
        [source] = walk(tmp_path)
        assert reason(source) in (Reason.UNREADABLE, Reason.TRUNCATED)
    (tmp_path / "1.dcm.zst").write_bytes(FILE)
    [source] = walk(tmp_path)
    assert reason(source) is Reason.UNREADABLE


def test_a_size_that_is_not_told_or_over_the_limit_is_refused(tmp_path: Path) -> None:
    unknown = b"\x28\xb5\x2f\xfd\x00\x58\x01\0\0" + bytes(20)
    huge = b"\x28\xb5\x2f\xfd\xe0" + (1 << 50).to_bytes(8, "little") + bytes(20)
    for frame in (unknown, huge):
        (tmp_path / "1.dcm.zst").write_bytes(frame)
        [source] = walk(tmp_path)
        assert reason(source) is Reason.TOO_LARGE


def test_limits_of_members(tmp_path: Path) -> None:
    packed(tmp_path / "study.zip", {f"{number}.dcm": FILE for number in range(4)})
    assert [source.name for source in walk(tmp_path, Limits(files=2))] == ["study.zip!0.dcm", "study.zip!1.dcm", "study.zip"]
    assert {reason(source) for source in walk(tmp_path, Limits(file_bytes=len(FILE) - 1))} >= {Reason.TOO_LARGE}
