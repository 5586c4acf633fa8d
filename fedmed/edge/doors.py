"""The ways by which images come to a device, all with one keeper behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from fedmed.config.edge import Dicom
from fedmed.dicom.arrivals import Door, KeepInstance
from fedmed.dicom.network.acceptor import stores
from fedmed.dicom.receiving import Receiver, ReceiverConfig, ReceiverTls, readable_syntaxes
from fedmed.edge.folder import EdgeFolder
from fedmed.edge.intake.watching import WatchConfig, Watched
from fedmed.errors import StoreError
from fedmed.store.audit.event import Event
from fedmed.store.audit.floods import Floods, Kind

OTHERS, MOST = Kind("others", "an image", "any"), 64
"""Who is told by name within a minute; all beyond are one."""
MOST_SORT = 64
"""Letters of a reason that tell sorts of refusals apart."""


class Doors:
    """Of one device, from `open` to `close`."""

    def __init__(self, folder: EdgeFolder, keep: KeepInstance, record: Callable[[Event], object]) -> None:
        """`record` writes the audit log. Raises ConfigError with what is wrong about any of them."""
        config, self._clock = folder.config, folder.clock
        self._floods = Floods(config.name, "site", folder.clock, record, "refuse.instance", OTHERS, MOST)
        self._keep, self._stack, self._stop = keep, ExitStack(), threading.Event()
        self._door = Door(self._keep, stores(frozenset()), readable_syntaxes())
        self._receiver = None if config.dicom is None else self._listening(folder)
        self._watched = None if config.folder is None else self._watching(folder.path / config.folder)
        self._config, self._path = config, folder.path

    def open(self) -> None:
        """Let images in. Raises ConfigError where a port is not to be had."""
        if self._receiver is not None:
            self._receiver.start()
            self._stack.callback(self._receiver.stop)
        if self._watched is not None:
            threading.Thread(target=self._watched.run, args=(self._stop,), name="folder", daemon=True).start()
        if self._config.stow is not None:
            self._web()

    def look(self) -> None:
        """Write down how often a refusal came again."""
        self._floods.settle()

    def close(self) -> None:
        """Let none in any more."""
        self._stop.set()
        self._stack.close()
        self._floods.settle(is_end=True)

    def associations(self) -> frozenset[str]:
        """Those that have not ended, as the facts of an image name them."""
        return frozenset() if self._receiver is None else self._receiver.associations()

    def told(self) -> str:
        """Which there are."""
        config = self._config
        found = [f"{config.dicom.ae_title} port {self._receiver.port}"] if config.dicom and self._receiver else []
        found += [f"folder {config.folder}"] if config.folder else []
        found += [f"STOW port {config.stow.port}"] if config.stow else []
        return ", ".join(found) or "no door"

    def _listening(self, folder: EdgeFolder) -> Receiver:
        wanted = folder.config.dicom
        assert wanted is not None
        return Receiver(receiver_config(folder.path, wanted), self._keep, self._clock, self._told)

    def _watching(self, place: Path) -> Watched:
        return Watched(WatchConfig(place), self._door, self._clock, self._told)

    def _web(self) -> None:
        from fedmed.edge.intake.listening import WebConfig, WebIntake

        wanted = self._config.stow
        assert wanted is not None
        token = "" if wanted.token is None else token_in(self._path / wanted.token)
        self._stack.enter_context(WebIntake(WebConfig(wanted.listen, wanted.port, token), self._door, self._told))

    def _told(self, whom: str, title: str, why: str) -> None:
        """Each refusal once, and what comes again as a number: a hostile network fills no log.

        Where no title was told, as before TLS stands, the reason itself tells one sort from another.
        """
        self._floods.note(Kind(whom, "an image", title or why[:MOST_SORT]), why)


def receiver_config(place: Path, wanted: Dicom) -> ReceiverConfig:
    """Who may send, and how; files of TLS lie below `place` where they are not absolute. Raises ConfigError."""
    tls = wanted.tls
    return ReceiverConfig(
        host=wanted.listen,
        port=wanted.port,
        ae_title=wanted.ae_title,
        callers=wanted.callers,
        addresses=wanted.addresses,
        tls=None if tls is None else ReceiverTls(place / tls.certificate, place / tls.key, place / tls.callers),
    )


def token_in(path: Path) -> str:
    """The token in a file. Raises StoreError."""
    try:
        return path.read_text().strip()
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: no token can be read there ({error}); write one line of 16 characters or more") from error
