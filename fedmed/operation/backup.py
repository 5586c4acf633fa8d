"""One encrypted file with all that makes a center or a clinic, and the way back.

    fedmed-backup-1 <newline>
    header          JSON, one line: who can open it (`privacy.wrapping`)
    sealed          STREAM (`privacy.sealing`) over a POSIX tar; its last member, `.manifest.json`, names each file's SHA-256

A backup is older than what it replaces. What must not go back is left out, with the reason in the manifest; what was undone
since then, such as a revocation, is named after a restore, and no service starts before somebody has looked at it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fedmed import __version__
from fedmed.clock import Clock
from fedmed.errors import ConfigError, StoreError
from fedmed.identity import files
from fedmed.operation.settling import Restored, mark
from fedmed.operation.snapshot import Snapshot, Taken, snapshot
from fedmed.privacy import wrapping
from fedmed.privacy.keys import SiteKey
from fedmed.privacy.sealing import Pieces, seal, unsealed
from fedmed.wire.canonical import canonical

MAGIC = b"fedmed-backup-1\n"
MANIFEST = ".manifest.json"
MOST_HEADER, MOST_MANIFEST = 4096, 64 << 20
BLOCK = 1 << 20
_KIND, _VERSION = "fedmed-backup", 1
Wrap = Callable[[bytes], dict[str, Any]]
"""Makes the header for a file's key."""


@dataclass(frozen=True)
class Kind:
    """What is backed up."""

    role: str
    config: str
    """The file that such a folder has."""
    leave_out: Mapping[str, str]
    look_at: tuple[str, ...]
    """What somebody has to look at after a restore."""


CENTER = Kind(
    "center",
    "center.yaml",
    {
        "superlink.db*": "messages under way; clinics register and are asked again",
        "superlink": "messages under way; clinics register and are asked again",
    },
    (
        "who was revoked since then is a member again: fedmed center sites, fedmed center revoke NAME",
        "who was admitted since then is none any more, and is invited again",
        "the audit log is shorter than clinics know it, and each accuses it of being rewritten: telephone their staff, "
        "all of them, then at each: fedmed clinic forgive --who NAME",
        "runs go on from the last commit in the backup, in a new epoch of secure aggregation",
        "a copy of the models elsewhere is newer than the registry: models.copy_to needs a new place before any is copied",
    ),
)
CLINIC = Kind(
    "clinic",
    "clinic.yaml",
    {
        "keystore": "secrets of secure aggregation: an older state would mask twice alike (ADR 0020); a new epoch begins",
        "keystore.key*": "the keystore's key and counter, which belong to it",
        "spool": "messages and masked answers of epochs that are over",
        "running": "what apps keep between rounds, sealed with the keystore's key, and cases laid out for them",
    },
    (
        "what was withdrawn since then is released and approved again: fedmed clinic data, fedmed clinic approvals",
        "members that were removed since then are approved again: fedmed clinic members list|remove",
        "devices that were revoked since then are let in again: fedmed clinic devices list|revoke",
        "an app that keeps something of its own between rounds begins anew",
        "privacy budgets lack what was charged since then: withdraw data sets that took part in a private run since",
        "the record of what left the building, and the audit log, end at the backup: keep what is left of the old disk",
    ),
)


@dataclass(frozen=True)
class Made:
    """A backup, or what was restored from one."""

    name: str
    """The folder's own name for itself: the federation, or the clinic."""
    role: str
    unix: float
    """When it was made: seconds since 1970."""
    files: int
    bytes: int
    left_out: Mapping[str, str]


def back_up(folder: Path, kind: Kind, name: str, out: Path, wrap: Wrap, clock: Clock) -> Made:
    """Write the backup of a folder, which may be in use, into the new file `out`.

    Raises ConfigError where it is no such folder or `out` is there, StoreError.
    """
    if not (folder / kind.config).is_file():
        raise ConfigError(f"{folder} is no {kind.role}'s folder: it holds no {kind.config}; name one with --at")
    if out.exists():
        raise ConfigError(f"{out} is there already, and a backup is never written over; name another file")
    secret = secrets.token_bytes(wrapping.BYTES)
    header = canonical(wrap(secret)) + b"\n"
    beside = out.with_name(f".{out.name}.new")
    with snapshot(folder, kind.leave_out) as taken:
        made = Made(name, kind.role, clock.unix(), len(taken.files), sum(each.size for each in taken.files), taken.left_out)
        try:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + header)
                seal(secret, _bound(header), Pieces(_archived(taken, made)), file)
                file.flush()
                os.fsync(handle)
            beside.rename(out)
            files.sync_folder(out.parent)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise StoreError(f"{out} cannot be written ({error.strerror}); make room, or name another place") from error
    return made


def restore(backup: Path, kind: Kind, folder: Path, passphrase: str | None, key: SiteKey | None, clock: Clock) -> Made:
    """Put what a backup holds into the new folder `folder`; nothing of it is there where anything is amiss.

    `settling` tells what to look at then.

    Raises ConfigError where `folder` is not empty or the backup is of the other role, WrongKey, StoreError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; restore into a new folder, then put it in the old one's place")
    beside = folder.absolute().with_name(f".{folder.absolute().name}.restoring")
    try:
        if beside.exists():
            shutil.rmtree(beside)
        beside.mkdir(parents=True, mode=0o700)
        try:
            with backup.open("rb") as file:
                made = _unpacked(file, str(backup), kind, beside, passphrase, key)
            mark(beside, Restored(kind.role, made.unix, clock.unix(), kind.look_at))
            if folder.exists():
                folder.rmdir()
            beside.rename(folder)
            files.sync_folder(folder.absolute().parent)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"{error.filename or backup}: cannot be read or written ({error.strerror})") from error
    return made


def _archived(taken: Snapshot, made: Made) -> Iterator[bytes]:
    told: dict[str, dict[str, Any]] = {}
    for each in taken.files:
        hashed = hashlib.sha256()
        yield from _member(each.name, each.size, _content(each, hashed.update))
        told[each.name] = {"sha256": hashed.hexdigest(), "bytes": each.size}
    body = {"kind": _KIND, "version": _VERSION, "fedmed": __version__, "name": made.name, "role": made.role}
    manifest = canonical({**body, "unix": made.unix, "files": told, "left_out": dict(taken.left_out)})
    yield from _member(MANIFEST, len(manifest), iter([manifest]))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(name: str, size: int, content: Iterator[bytes]) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    yield info.tobuf(tarfile.PAX_FORMAT)
    yield from content
    yield bytes(-size % tarfile.BLOCKSIZE)


def _content(taken: Taken, hear: Callable[[bytes], object]) -> Iterator[bytes]:
    left = taken.size
    with taken.path.open("rb") as file:
        while left:
            block = file.read(min(BLOCK, left))
            if not block:
                raise StoreError(f"{taken.name} became shorter while it was copied; make the backup again")
            left -= len(block)
            hear(block)
            yield block


def _unpacked(file: BinaryIO, what: str, kind: Kind, folder: Path, passphrase: str | None, key: SiteKey | None) -> Made:
    if file.read(len(MAGIC)) != MAGIC:
        raise StoreError(f"{what}: is no backup of fedmed of this version; name another file")
    header = file.readline(MOST_HEADER)
    try:
        said = json.loads(header)
    except ValueError as error:
        raise StoreError(f"{what}: the header is damaged; take another copy") from error
    secret = wrapping.opened(said, passphrase, key)
    try:
        found, manifest = _files(unsealed(secret, _bound(header), file), folder)
    except tarfile.TarError as error:
        raise StoreError(f"{what}: the archive is damaged ({error}); take another copy") from error
    return _checked(what, kind, found, manifest)


def _files(sealed: Iterator[bytes], folder: Path) -> tuple[dict[str, Any], bytes]:
    """Written below `folder`; SHA-256 and size of each, and the manifest."""
    found: dict[str, Any] = {}
    manifest, stream = b"", Pieces(sealed)
    with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK) as archive:  # type: ignore[call-overload]
        for member in archive:
            content = archive.extractfile(member)
            parts = Path(member.name).parts
            if content is None or not member.isreg() or ".." in parts or Path(member.name).is_absolute():
                raise StoreError(
                    f"the backup holds {member.name[:200]!r}, which is no file below its folder; it is not of fedmed"
                )
            if member.name == MANIFEST:
                manifest = content.read(MOST_MANIFEST)
                continue
            found[member.name] = _written(folder / member.name, folder, content)
    while stream.read(BLOCK):
        pass  # to its end, which proves that nothing was cut off
    return found, manifest


def _written(path: Path, folder: Path, content: Any) -> dict[str, Any]:
    for place in (*reversed(path.parent.relative_to(folder).parents), path.parent.relative_to(folder)):
        (folder / place).mkdir(exist_ok=True, mode=0o700)
    hashed, size = hashlib.sha256(), 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        while block := content.read(BLOCK):
            file.write(block)
            hashed.update(block)
            size += len(block)
        file.flush()
        os.fsync(handle)
    files.sync_folder(path.parent)
    return {"sha256": hashed.hexdigest(), "bytes": size}


def _checked(what: str, kind: Kind, found: dict[str, Any], manifest: bytes) -> Made:
    try:
        said = json.loads(manifest)
        made = Made(
            said["name"],
            said["role"],
            said["unix"],
            len(found),
            sum(each["bytes"] for each in found.values()),
            said["left_out"],
        )
        told, role = said["files"], said["role"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{what}: its manifest is missing or damaged; take another copy") from error
    if told != found:
        wrong = sorted(name for name in {*told, *found} if told.get(name) != found.get(name))
        raise StoreError(f"{what}: {', '.join(wrong[:5])} is not what the manifest says; take another copy")
    if role != kind.role:
        raise ConfigError(f"{what}: is the backup of a {role}; say: fedmed {role} restore")
    return made


def _bound(header: bytes) -> str:
    """The name under which the archive is sealed: another header does not go with it."""
    return f"backup {hashlib.sha256(header).hexdigest()}"
