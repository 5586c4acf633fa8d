"""Whatever happens, and whenever the process ends: an object is here or there; after the next start, its study is whole."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedmed.errors import StoreError
from fedmed.store.blobs import FolderStore
from tests.store.archive.shelves import DAY, Fuse, Killed, Shelf


class Line(FolderStore):
    """A store that may be away."""

    away = False

    def _asked(self) -> None:
        if self.away:
            raise StoreError("the store does not answer; it is tried again")

    def names(self):
        self._asked()
        return super().names()

    def open(self, name):
        self._asked()
        return super().open(name)

    def put(self, name, source, size):
        self._asked()
        super().put(name, source, size)


class HereOrThere(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix="archive-"))
        self.line, self.fuse = Line(self.path / "away"), Fuse()
        self.shelf = Shelf(self.path, self.line)
        self.ever: dict[str, bytes] = {}
        self.is_settled = True
        self.fuse.all(self.shelf)

    def teardown(self) -> None:
        shutil.rmtree(self.path)

    def _within(self, work, kill: int | None) -> None:
        self.fuse.left = kill
        try:
            work()
            self.is_settled = True
        except StoreError:
            assert self.line.away
        except Killed:
            self.is_settled = False
            self.shelf.index.close()
        finally:
            self.fuse.left = None
        if not self.is_settled:
            self.fuse.again(self.shelf)

    @rule(study=st.integers(0, 3), content=st.binary(max_size=40))
    def arrives(self, study, content):
        name = f"{study}.{len(self.ever)}"
        self.shelf.files.add(name, content, self.shelf.clock.unix())
        self.ever[name] = content

    @rule(days=st.sampled_from([1, 40]))
    def time_passes(self, days):
        self.shelf.clock.at += days * DAY

    @rule(kill=st.none() | st.integers(0, 14))
    def turns(self, kill):
        self._within(self.shelf.turn, kill)

    @precondition(lambda self: self.shelf.index.rows())
    @rule(kill=st.none() | st.integers(0, 14), which=st.integers(0, 99))
    def is_recalled(self, kill, which):
        rows = self.shelf.index.rows()
        study = rows[which % len(rows)].study
        self._within(lambda: (self.shelf.archive.open(), self.shelf.archive.recall(study)), kill)

    @rule()
    def line_comes_and_goes(self):
        self.line.away = not self.line.away

    @rule()
    def index_is_lost(self):
        if not self.line.away:
            self.shelf.index.close()
            for path in self.path.glob("archive.sqlite*"):
                path.unlink()
            self.fuse.again(self.shelf)
            self.shelf.archive.open()

    @invariant()
    def nothing_is_nowhere(self):
        away, self.line.away = self.line.away, False
        assert self.shelf.everything() == self.ever
        self.line.away = away

    @invariant()
    def no_pack_is_half_here(self):
        if self.line.away or not self.is_settled:
            return
        for name in self.shelf.vault.names():
            with self.shelf.vault.open(name) as (manifest, _):
                here = [item.name in self.shelf.files.names() for item in manifest.items]
            assert all(here) or not any(here)


@pytest.mark.parametrize("kill", range(22))
@pytest.mark.parametrize("way", ["there", "back"])
def test_killed_at_every_change(tmp_path, way, kill):
    shelf, fuse = Shelf(tmp_path), Fuse()
    shelf.add("1.2", [b"one", b"two", b"three"])
    ever = shelf.everything()
    if way == "back":
        shelf.turn()
    fuse.all(shelf)
    fuse.left = kill
    with suppress(Killed):
        shelf.turn() if way == "there" else shelf.archive.recall("1.2")
    fuse.left = None
    assert shelf.everything() == ever
    shelf.index.close()
    shelf.again()
    shelf.archive.open()
    assert shelf.everything() == ever
    assert len(shelf.files.names()) in (0, 3)
    assert set(shelf.standings().values()) <= {"away", "both"}
    shelf.clock.at += 3650 * DAY
    shelf.turn()
    assert shelf.standings() == {"1.2": "away"}
    assert shelf.files.names() == set()


TestHereOrThere = HereOrThere.TestCase
TestHereOrThere.settings = settings(max_examples=12, stateful_step_count=14, deadline=None)
