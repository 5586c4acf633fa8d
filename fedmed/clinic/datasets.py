"""The clinic's folder of registered data sets: read with their digest, changed one at a time, replaced whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from fedmed import __version__
from fedmed.config.dataset import DataSet
from fedmed.config.roles import read_role, written
from fedmed.errors import ConfigError, NotApproved, StoreError
from fedmed.identity import files
from fedmed.store.locks import alone
from fedmed.wire.canonical import digest
from fedmed.wire.tensors import sha256

FOLDER, SUFFIX, LOCK = "datasets", ".yaml", ".lock"
MOST_BYTES = 256 * 1024
_MARK = b"# sha256 of all above, which fedmed wrote; change nothing by hand: "


class DataSets:
    """Data sets by name."""

    def __init__(self, clinic: Path) -> None:
        """`clinic` is the clinic's folder."""
        self.folder = clinic / FOLDER

    def names(self) -> list[str]:
        """Those registered, sorted."""
        return sorted(path.stem for path in self.folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))

    def get(self, name: str) -> DataSet:
        """The data set. Raises ConfigError where none is called so, StoreError for a file that fedmed did not write."""
        path = self.path(name)
        try:
            content = files.read(path, MOST_BYTES, files.OTHERS_CHANGE)
        except FileNotFoundError as error:
            there = ", ".join(self.names()) or "none"
            raise ConfigError(
                f"no data set is called {name[:64]!r} here; there are: {there} (fedmed clinic data add)"
            ) from error
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); put a copy of it back") from error
        return _decoded(content, str(path), name)

    def add(self, dataset: DataSet) -> None:
        """Register a data set. Raises ConfigError where the name is taken, StoreError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with alone(self.folder / LOCK):
            if self.path(dataset.name).exists():
                raise ConfigError(
                    f"a data set is called {dataset.name!r} already; choose another name, or read its files again: "
                    f"fedmed clinic data renew {dataset.name}"
                )
            self._write(dataset)

    def change(self, name: str, how: Callable[[DataSet], DataSet]) -> DataSet:
        """The data set as `how` changes it, on the disk before this returns. Raises as `get`, and StoreError."""
        self.get(name)
        with alone(self.folder / LOCK):
            made = how(self.get(name))
            self._write(made)
            return made

    def path(self, name: str) -> Path:
        """The file of a data set; names cannot lead elsewhere."""
        return self.folder / f"{name.replace('/', '_')}{SUFFIX}"

    def _write(self, dataset: DataSet) -> None:
        try:
            files.replace(self.path(dataset.name), _encoded(dataset))
        except OSError as error:
            raise StoreError(
                f"{self.path(dataset.name)} cannot be written ({error.strerror}); make room, then try again"
            ) from error


def described(dataset: DataSet) -> str:
    """Digest of all that an approval binds of a data set."""
    return digest(dataset.described())


def require_the_same(dataset: DataSet, approved: str) -> None:
    """Raise NotApproved where the data set is not what an approval was given for."""
    if described(dataset) != approved:
        raise NotApproved(
            "this site's data is not what was approved; ask its staff",
            f"data set {dataset.name} was registered anew since the run was approved; release it, and approve the run again",
        )


@lru_cache(maxsize=64)  # by the bytes: a daemon asks at every message, and YAML is slow
def _decoded(content: bytes, path: str, name: str) -> DataSet:
    again = "put a copy of it back, or register the data set anew"
    body, _, mark = content.rpartition(_MARK)
    if mark != _mark(body):
        raise StoreError(f"{path} was changed by hand; {again}")
    try:
        found = read_role(body.decode(), path, DataSet)
    except (ConfigError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path} is of a newer fedmed than this one ({__version__}), or damaged; {again}: {error}"
        ) from error
    if found.name != name:
        raise StoreError(f"{path} was changed by hand; {again}")
    return found


def _encoded(dataset: DataSet) -> bytes:
    """Without keys that a later version has: nothing that was approved changes with an update of fedmed."""
    body = written(dataset, dataset.model_dump(mode="json", exclude_unset=True))
    return body + _MARK + _mark(body)


def _mark(body: bytes) -> bytes:
    return f"{sha256(body)}\n".encode()
