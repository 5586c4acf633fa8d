"""A device that its hub lets in no more joins once more, in the folder that it has: all that waits there goes on.

What seals the spool is the folder's own and no key of who it is at the hub, so images, results and copies, set-aside objects
and releases stay as they are. New keys are certified beside the old ones; once the new certificate is on the disk they take
the old ones' place, file by file, and a process that is killed in between is gone on with by the same command. What only the
old keys can go on with, the audit log that they signed and what they had under way in rounds, lies in `before-FINGERPRINT`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from fedmed.clock import Clock
from fedmed.edge.folder import AUDIT
from fedmed.errors import JoinRefused, StoreError
from fedmed.hub.joining import AUTHORITY_FILE, CERTIFICATE_FILE, HUB_FILE, KEYS_FILE, Joined, join, open_device
from fedmed.identity.files import sync_folder
from fedmed.identity.member import MemberKeys
from fedmed.store.standing import serving

NEW, BEFORE = "joining", "before-"
KEYSTORE, ROUNDS, FELLOWS = "keystore", "rounds", "fellows.json"
"""As `fedmed.edge.training` and `fedmed.hub.training` call them."""


def is_begun(folder: Path) -> bool:
    """Whether a process was killed while new keys took the old ones' place."""
    return (folder / NEW / HUB_FILE).exists()


def join_again(
    code: str,
    host: str,
    port: int,
    folder: Path,
    clock: Clock,
    tell: Callable[[str, float], None] = lambda what, most_s: None,
) -> Joined:
    """Enrol the device of a folder anew, under its own name at its own clinic. Raises as `join`.

    Raises ConfigError where the agent is up, or the folder never joined.
    """
    new = folder / NEW
    with serving(folder, "the agent") if folder.is_dir() else nullcontext():
        if not is_begun(folder):
            try:
                join(code, host, port, new, clock, tell, open_device(folder, clock))
            except JoinRefused:
                (new / KEYS_FILE).unlink(missing_ok=True)  # of a join that was cut off, and revoked since: others are made
                raise
        _take_over(folder, new)
    return open_device(folder, clock).hub


def _take_over(folder: Path, new: Path) -> None:
    """Each step may have been made before. Raises StoreError."""
    try:
        (folder / HUB_FILE).unlink(missing_ok=True)
        sync_folder(folder)
        before = folder / f"{BEFORE}{MemberKeys.load(folder / KEYS_FILE).fingerprint.hex()[:16]}"
        for name in (AUDIT, KEYSTORE, ROUNDS, FELLOWS):
            if (folder / name).exists():
                before.mkdir(mode=0o700, exist_ok=True)
                (folder / name).rename(before / name)
        for name in (AUTHORITY_FILE, CERTIFICATE_FILE, KEYS_FILE, HUB_FILE):
            if (new / name).exists():
                (new / name).replace(folder / name)
                sync_folder(folder)
        shutil.rmtree(new)
    except OSError as error:
        raise StoreError(
            f"{folder}: the new keys cannot take the old ones' place ({error.strerror}); make room, then run this again"
        ) from error
