"""Releases on a device while images are looked at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import Unreachable
from fedmed.serving.packages import FP32, Package
from tests.edge.ladder.test_climber import Box


class Slow:
    """A hub that has begun to answer and does not go on."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def pieces(self, name: str, offset: int) -> Iterator[bytes] | None:
        self.asked.set()
        assert self.go_on.wait(60)
        raise Unreachable("gone")


def test_no_image_waits_for_a_release_that_comes_slowly(tmp_path: Path, quantised: Package):
    box, hub = Box(tmp_path, quantised), Slow()
    box.released.device.fetchers = {"federation": hub}
    ended: list[str] = []

    def beat() -> None:
        with pytest.raises(Unreachable):
            box.released.beat()
        ended.append("beat")

    def look() -> None:
        assert box.released.model is not None
        box.released.model.run(np.zeros((1, 1, 32, 32), np.float32))
        ended.append("image")

    beating, looking = threading.Thread(target=beat), threading.Thread(target=look)
    beating.start()
    assert hub.asked.wait(60)
    looking.start()
    looking.join(60)
    hub.go_on.set()
    for each in (beating, looking):
        each.join(60)
    assert ended == ["image", "beat"]


def test_one_file_of_a_package_is_read_to_open_it(tmp_path: Path, quantised: Package, monkeypatch: pytest.MonkeyPatch):
    read: list[set[str]] = []
    whole = Package.load.__func__

    def load(cls: type[Package], folder: Path, only: tuple[str, ...] | None = None) -> Package:
        found = whole(cls, folder, only)
        read.append(set(found.models))
        return found

    monkeypatch.setattr(Package, "load", classmethod(load))
    assert Box(tmp_path, quantised).precision == "fp32"
    assert read == [{FP32}]
