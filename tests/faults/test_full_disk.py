"""A disk that is really full, at the center and at a clinic: nobody is told what is not so, and all goes on by itself."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from flwr.app import Context, Message

from fedmed.errors import StoreError
from fedmed.flower.direct import DirectGrid
from fedmed.flower.opening import disk_needed
from tests.flower.real import federation
from tests.flower.test_node import answers, ask, doubled, is_doubled, running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a small disk can be mounted by root alone")
MEGABYTES = 64


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._filler = folder, folder / "filler"

    def fill(self) -> None:
        with suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass

    def free(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path):
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)], check=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_an_answer_waits_until_the_center_has_room(tmp_path: Path, disk: Disk):
    told = list[str]()

    def filled(message: Message, context: Context) -> Message:
        disk.fill()
        return doubled(message, context)

    with federation(tmp_path, disk.folder / "state.db") as fed:
        client = fed.admit("north")
        node = fed.engine.link.register(client.keys.transport_public)
        with running(fed, client, filled, told):
            grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
            ids = ask(grid, node)
            assert answers(grid, ids, 3) == []
            disk.free()
            assert is_doubled(answers(grid, ids))
            assert list((tmp_path / "spool").iterdir()) == []
    (said,) = told
    assert said.startswith("the center answers 507: the center's disk cannot be written or read (")
    assert "made room" in said


def test_what_cannot_be_laid_out_is_not_and_can_be_later(tmp_path: Path, disk: Disk):
    with federation(tmp_path, disk.folder / "state.db") as fed:
        client = fed.admit("north")
        node = fed.engine.link.register(client.keys.transport_public)
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
        disk.fill()
        with pytest.raises(StoreError, match="cannot be written or read"), disk_needed():
            ask(grid, node)
        disk.free()
        assert not list(disk.folder.rglob(".*.new"))
        with running(fed, client):
            assert is_doubled(answers(grid, ask(grid, node)))
