"""A hub's folder with an archive, and studies that devices sent."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from fedmed.clock import SystemClock
from fedmed.config.archive import Archive as Config
from fedmed.config.roles import HUB_FILE, Hub, written
from fedmed.hub.archiving import Archiver, open_archive
from fedmed.hub.folder import HubFolder, make_hub
from fedmed.hub.landing import Arrived
from fedmed.hub.serving import keepers_of
from fedmed.privacy import keys
from fedmed.store.archive.archive import Archive, Party
from fedmed.store.audit.event import Event
from tests.hub.clinic import piece_of


class Hubs:
    """The hub of `north` below `path`."""

    def __init__(self, path: Path, to: str, store: str | None = None, **archive: object) -> None:
        self.clinic = path / "clinic"
        said = Config(to=to, **({"keep_gb": 0.0} | archive))
        key = None
        if store:
            keys.create(path / "store.key")
            key = str(path / "store.key")
        self.config = Hub(clinic="north", archive=said, store=store, key=key)
        self.folder: HubFolder = make_hub(self.clinic, self.config, SystemClock())
        self.events: list[Event] = []
        self.told: list[str] = []
        self.used: list[Path] = []

    def says(self, **archive: object) -> None:
        assert self.config.archive is not None
        self.config = self.config.model_copy(update={"archive": self.config.archive.model_copy(update=archive)})
        (self.folder.path / HUB_FILE).write_bytes(written(self.config))
        self.folder = replace(self.folder, config=self.config)

    def sends(self, study: str, *contents: bytes, device: str = "echo", **facts: object) -> None:
        pieces = [piece_of(content, **({"study": study} if study else {}), **facts) for content in contents]
        keepers_of(self.folder)["study"](
            [Arrived(device, piece, content) for piece, content in zip(pieces, contents, strict=True)]
        )

    def archive(self) -> Archive:
        return open_archive(self.folder, lambda: self.used, Party("north", "site", self.events.append))

    def archiver(self) -> Archiver:
        assert self.folder.config.archive is not None
        make = lambda ending: open_archive(  # noqa: E731
            self.folder, lambda: self.used, Party("north", "site", self.events.append), ending
        )
        return Archiver(make, self.folder.config.archive.to, SystemClock(), self.told.append)

    def contents(self) -> list[bytes]:
        """Of the files of devices, sorted."""
        folder = self.folder.path / "studies"
        paths = [path for path in folder.glob("*/*") if path.suffix != ".json" and not path.name.startswith(".")]
        return sorted(path.read_bytes() for path in paths)


def aged(folder: Path, days: float) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            at = path.stat().st_mtime - days * 86400
            os.utime(path, (at, at))
