from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.sources import of_bytes, of_file, reopen, walk


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def refusal(source) -> Untrusted:
    with pytest.raises(Untrusted) as error:
        source.head(1)
    return error.value


def test_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    tree(tmp_path, "b/2", "b/10", "a", "c/d/e", "Z")
    sources = list(walk(tmp_path))
    assert [source.name for source in sources] == ["Z", "a", "b/10", "b/2", "c/d/e"]
    assert [source.head(99) for source in sources] == [source.name.encode() for source in sources]
    assert [source.size for source in sources] == [len(source.name) for source in sources]


def test_a_single_file_is_a_root_too(tmp_path: Path) -> None:
    tree(tmp_path, "one.dcm")
    [source] = walk(tmp_path / "one.dcm")
    assert (source.name, source.head(7)) == ("one.dcm", b"one.dcm")


def test_a_dicomdir_stands_for_its_folder(tmp_path: Path) -> None:
    tree(tmp_path, "DICOMDIR", "A/1")
    assert [source.name for source in walk(tmp_path / "DICOMDIR")] == ["A/1", "DICOMDIR"]


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        (tmp_path / "empty").mkdir()
        assert list(walk(tmp_path)) == []


def test_links_are_followed_nowhere(tmp_path: Path) -> None:
    tree(tmp_path, "outside/secret", "root/inside")
    root = tmp_path / "root"
    (root / "loop").symlink_to(root)
    (root / "twice").symlink_to(root / "inside")
    (root / "out").symlink_to(tmp_path / "outside" / "secret")
    (root / "outdir").symlink_to(tmp_path / "outside")
    (root / "self").symlink_to(root / "self")
    found = {source.name: source for source in walk(root)}
    assert set(found) == {"inside", "out", "outdir", "self"}
    for name in ("out", "outdir", "self"):
        assert refusal(found[name]).reason is Reason.UNREADABLE


def test_a_root_that_is_a_link_is_meant(tmp_path: Path) -> None:
    tree(tmp_path, "there/one")
    (tmp_path / "root").symlink_to(tmp_path / "there")
    assert [source.name for source in walk(tmp_path / "root")] == ["one"]


def test_limits_of_size_count_and_depth(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", "c/d/e")
    (tmp_path / "a").write_bytes(bytes(100))
    found = list(walk(tmp_path, Limits(file_bytes=99)))
    assert refusal(found[0]).reason is Reason.TOO_LARGE
    found = list(walk(tmp_path, Limits(files=2)))
    assert [source.name for source in found] == ["a", "b", "."]
    assert refusal(found[-1]).reason is Reason.TOO_LARGE
    found = list(walk(tmp_path, Limits(depth=1)))
    assert [source.name for source in found] == ["a", "b", "c/d"]
    assert refusal(found[-1]).reason is Reason.TOO_LARGE


def test_what_is_gone_before_its_turn_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b/one", "c")
    sources = walk(tmp_path)
    assert next(sources).name == "a"
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "c").unlink()
    assert {source.name: refusal(source).reason for source in sources} == dict.fromkeys(("b/", "c"), Reason.UNREADABLE)


def test_names_that_are_no_text_can_be_shown(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.dcm"))).write_bytes(b"x")
    [source] = walk(tmp_path)
    assert source.name == "\\xff\\xfe.dcm"
    assert source.head(1) == b"x"


def test_spans_end_with_the_source(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"0123456789")
    for source in (of_file(tmp_path / "one", "one"), of_bytes("one", b"0123456789")):
        assert source.span(3, 4) == b"3456"
        assert source.head(100) == b"0123456789"
        with pytest.raises(Untrusted) as error:
            source.span(8, 3)
        assert error.value.reason is Reason.TRUNCATED


def test_a_source_is_found_again_by_its_place(tmp_path: Path) -> None:
    tree(tmp_path, "x/one")
    [source] = walk(tmp_path)
    again = reopen(source.place, source.name)
    assert (again.name, again.head(9)) == ("x/one", b"x/one")
    (tmp_path / "x" / "one").unlink()
    assert refusal(reopen(source.place, source.name)).reason is Reason.UNREADABLE
