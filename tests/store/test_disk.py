from __future__ import annotations

import os

import pytest

from fedmed.store.disk import Disk, write_file


def test_a_file_is_written_piece_by_piece_and_only_its_owner_reads_it(tmp_path):
    def fill(sink):
        for piece in (b"one ", b"", b"two"):
            sink.write(piece)

    write_file(Disk(), tmp_path / "f", fill)
    assert (tmp_path / "f").read_bytes() == b"one two"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_file(Disk(), tmp_path / "f", fill)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="exists"):
        write_file(Disk(), tmp_path / "link", fill)
    assert not (tmp_path / "elsewhere").exists()


def test_what_cannot_be_finished_is_removed(tmp_path):
    class Full(Disk):
        def sync(self, handle):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_file(Full(), tmp_path / "f", lambda sink: sink.write(b"x"))
    assert list(tmp_path.iterdir()) == []


def test_writing_over_changes_only_those_bytes(tmp_path):
    disk = Disk()
    (tmp_path / "f").write_bytes(b"0123456789")
    handle = disk.reopen(tmp_path / "f")
    disk.write(handle, b"ab", 3)
    disk.sync(handle)
    disk.close(handle)
    assert (tmp_path / "f").read_bytes() == b"012ab56789"


def test_a_write_that_the_system_cuts_short_is_gone_on_with(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, offset: real(handle, data[:3], offset))
    write_file(Disk(), tmp_path / "f", lambda sink: sink.write(b"0123456789"))
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_folders_are_made_for_the_owner_alone(tmp_path):
    Disk().make_folder(tmp_path / "a" / "b")
    Disk().make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
