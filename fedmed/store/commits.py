"""A commit after each round: all of it or nothing, and proof that it is all of it.

A commit is a folder `commits/round-000012` with `tensors.safetensors` and `commit.json`. It is written beside its place,
synced to the disk, and renamed, which POSIX makes atomic: a crash or a full disk leaves the commit before it as the last.
`commit.json` carries the SHA-256 of the tensors and of itself; what does not match is passed over, with a reason.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import DataError, StoreError
from fedmed.store.disk import Disk
from fedmed.wire import tensors as wire
from fedmed.wire.canonical import canonical, digest

KEEP = 3  # commits kept: the last, and two to fall back to
TENSORS, STATE = "tensors.safetensors", "commit.json"
WRITING = ".writing-"  # a commit's folder until it is whole


@dataclass(frozen=True)
class Commit:
    """A round's end: its number, the tensors and the state that the next round starts from."""

    round: int
    tensors: wire.Tensors
    state: dict[str, Any]


class Commits:
    """The commits of one run folder."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        """`disk`: whose syncs and renames decide what a crash can leave."""
        self.folder, self._disk = folder / "commits", disk or Disk()
        self._is_named = False

    def write(self, commit: Commit) -> Path:
        """Commit a round. Raises StoreError where the disk refuses; the commits before it are untouched then.

        Commits of later rounds go: whoever commits round n has found them damaged.
        """
        target, temporary = self._place(commit.round), self.folder / f"{WRITING}{os.getpid()}"
        try:
            self._sweep()
            temporary.mkdir(parents=True)
            self._name()
            self._fill(temporary, commit)
            if target.exists():
                shutil.rmtree(target)
            self._disk.rename(temporary, target)
            self._disk.sync_folder(self.folder)
        except OSError as error:
            raise StoreError(self._refused(commit.round, error)) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        whole = [number for number in self.rounds() if number <= commit.round]
        for old in set(self.rounds()) - set(whole[-KEEP:]):
            shutil.rmtree(self._place(old), ignore_errors=True)
        return target

    def _name(self) -> None:
        """Have the folder's own name on the disk, without which a loss of power takes every commit in it.

        Once a process: whoever made the folder may have ended before its name was synced.
        """
        if not self._is_named:
            self._disk.sync_folder(self.folder.parent)
            self._is_named = True

    def _place(self, number: int) -> Path:
        return self.folder / f"round-{number:06d}"

    def _sweep(self) -> None:
        """Remove what a killed run had begun to write."""
        for begun in self.folder.glob(f"{WRITING}*"):
            shutil.rmtree(begun, ignore_errors=True)

    def _refused(self, number: int, error: OSError) -> str:
        last, _ = self.latest()
        return (
            f"round {number} could not be committed in {self.folder}: {error.strerror or error}; the last valid commit is "
            f"round {last.round if last else 0}. Make room or mend the disk, then run the same command with --resume"
        )

    def rounds(self) -> list[int]:
        """Numbers of the rounds that have a commit, whole or damaged, in ascending order."""
        return sorted(int(path.name[6:]) for path in self.folder.glob("round-[0-9]*") if path.name[6:].isdecimal())

    def read(self, number: int) -> Commit:
        """The commit of a round. Raises StoreError where a byte of it is not what was written."""
        folder = self._place(number)
        try:
            sealed = json.loads((folder / STATE).read_bytes())
            data = (folder / TENSORS).read_bytes()
            body, seal = sealed["commit"], sealed["sha256"]
            if seal != digest(body):
                raise StoreError(f"commit of round {number}: {STATE} does not have the digest it was written with")
            written, tensors_sha256, state = body["round"], body["tensors_sha256"], body["state"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise StoreError(f"commit of round {number} cannot be read ({type(error).__name__}: {error})") from error
        if wire.sha256(data) != tensors_sha256:
            raise StoreError(f"commit of round {number}: {TENSORS} does not have the digest it was written with")
        if written != number:
            raise StoreError(f"commit of round {number}: it was written as that of round {written} and moved here")
        try:
            return Commit(number, wire.view(data, str(folder / TENSORS)), state)
        except DataError as error:
            raise StoreError(str(error)) from error

    def latest(self) -> tuple[Commit | None, list[str]]:
        """The newest commit that is whole, and what was wrong with the newer ones passed over."""
        faults: list[str] = []
        for commit in self._newest_first(faults):
            return commit, faults
        return None, faults

    def _newest_first(self, faults: list[str]) -> Iterator[Commit]:
        for number in reversed(self.rounds()):
            try:
                yield self.read(number)
            except StoreError as error:
                faults.append(str(error))

    def _fill(self, folder: Path, commit: Commit) -> None:
        with (folder / TENSORS).open("wb") as file:
            tensors_sha256 = wire.write(commit.tensors, file)
            file.flush()
            self._disk.sync(file.fileno())
        body = {"round": commit.round, "tensors_sha256": tensors_sha256, "state": commit.state}
        with (folder / STATE).open("wb") as file:
            file.write(canonical({"commit": body, "sha256": digest(body)}))
            file.flush()
            self._disk.sync(file.fileno())
        self._disk.sync_folder(folder)
