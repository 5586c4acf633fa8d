"""What left a site: one line a thing, chained by digests, synced before anything is let go.

A ledger is a chain (`store.chain`) of what was sent, whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import StoreError
from fedmed.store import chain
from fedmed.store.locks import alone
from fedmed.wire.tensors import sha256


@dataclass(frozen=True)
class Entry:
    """One thing that left the site."""

    what: str
    sha256: str
    """Of the statement's text as it was sent."""
    dataset: str
    """Version of the data set that it tells of: a digest."""
    pipeline: str
    purpose: str
    """The run, in words."""
    approved: str
    """Who let it go."""
    unix: float
    """Seconds since 1970."""
    statement: str
    """What was sent, whole, so that the same question has the same answer."""


class Ledger:
    """The ledger of one site; verified whenever it is opened."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError, naming the line, where the ledger is not what was written."""
        self.path = path
        self.entries = verify(path)

    def find(self, what: str, dataset: str, pipeline: str) -> Entry | None:
        """The entry of what was sent before of this version under this pipeline."""
        wanted = (what, dataset, pipeline)
        return next((e for e in self.entries if (e.what, e.dataset, e.pipeline) == wanted), None)


def once(
    path: Path, clock: Clock, key: tuple[str, str, str], purpose: str, make: Callable[[], tuple[str, str] | None]
) -> str | None:
    """The statement `(what, dataset, pipeline)`: the recorded one, or a new one that is recorded before it is returned.

    `make` returns the statement and who approved it, or None where it may not leave; it is asked at most once in the life
    of the ledger for what is then recorded. Raises StoreError where the ledger is damaged or cannot be written: nothing
    may leave then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.with_name(f".{path.name}.lock")):
            ledger = Ledger(path)
            if (found := ledger.find(*key)) is not None:
                return found.statement
            made = make()
            if made is None:
                return None
            statement, approved = made
            digest = sha256(statement.encode())
            entry = Entry(key[0], digest, key[1], key[2], purpose, approved, clock.unix(), statement)
            chain.append(path, asdict(entry))
            return statement
    except OSError as error:
        raise StoreError(
            f"the ledger {path} cannot be written ({error.strerror or error}); nothing leaves without it"
        ) from error


def verify(path: Path) -> list[Entry]:
    """The entries, every digest checked. Raises StoreError saying which line is wrong and how."""
    return chain.verify(path, lambda body: Entry(**body), lambda entry: sha256(entry.statement.encode()) == entry.sha256)
