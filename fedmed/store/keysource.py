"""Where the key of a keystore comes from: never from the disk that the keystore lies on.

    credential:NAME            a systemd credential (`LoadCredentialEncrypted=`), in $CREDENTIALS_DIRECTORY; read-only, so it
                               holds no counter
    tpm:HANDLE_OR_CONTEXT      a TPM 2 unseals it (`tpm2_unseal -c`); a counter in the TPM is not built
    file:/path                 a file of `fedmed data key` on another mount, with the counter beside it as /path.counter

A key is 32 bytes, or the line that `fedmed data key` writes. Each keystore has a key of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import ConfigError, MissingPart, StoreError, first_line
from fedmed.identity import files
from fedmed.privacy import keys
from fedmed.store.counters import CounterFile
from fedmed.store.keystore import FileKeystore

UNSEAL = "tpm2_unseal"
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_TPM = re.compile(r"0x[0-9A-Fa-f]{8}|/.+")
_TPM_SECONDS = 30
_MAX_BYTES = 4096


def key_from(source: str, beside: Path | None = None, allow_same_mount: bool = False) -> bytes:
    """The key, 32 bytes, that `source` names.

    A file on the mount of the keystore's folder, `beside`, is refused, since who takes the disk has both then;
    `allow_same_mount` lets it pass, which is weaker: erased rounds stay erased, but a copy of the disk opens all the rest.
    Raises ConfigError for a source written otherwise, MissingPart where a program is missing, StoreError for all else.
    """
    kind, _, place = source.partition(":")
    if kind == "credential" and _CREDENTIAL.fullmatch(place):
        return _credential(place)
    if kind == "tpm" and _TPM.fullmatch(place):
        return _tpm(place)
    if kind == "file" and place.startswith("/"):
        if beside is not None and not allow_same_mount and same_mount(Path(place), beside):
            raise StoreError(
                f"the key {place} lies on the same mount as the keystore {beside}: who takes that disk has both. Put the "
                "key on another medium, or use `credential:` or `tpm:`; the weaker way is to allow the same mount explicitly"
            )
        return keys.read(Path(place)).secret
    raise ConfigError(
        f"a keystore's key from {source[:100]!r}; allowed are credential:NAME, tpm:0x81000001 or tpm:/context, file:/path"
    )


def counter_from(source: str, key: bytes) -> CounterFile | None:
    """The counter beside the key; None for a source that holds none: an older copy of a keystore is not found out."""
    kind, _, place = source.partition(":")
    return CounterFile(Path(f"{place}.counter"), key) if kind == "file" else None


def keystore_at(folder: Path, source: str, clock: Clock, allow_same_mount: bool = False) -> FileKeystore:
    """The keystore in `folder`, its key and its counter from `source`. Raises as `key_from`."""
    key = key_from(source, folder, allow_same_mount)
    return FileKeystore(folder, key, clock, counter_from(source, key))


def weaknesses(source: str, folder: Path) -> list[str]:
    """What a keystore in `folder` with its key from `source` does not protect from, in words for the clinic's own staff."""
    kind, _, place = source.partition(":")
    found = []
    if kind == "file" and same_mount(Path(place), folder):
        found.append("the key lies on the keystore's own disk: a copy of that disk opens all that is not yet erased")
    if kind != "file":
        found.append("nothing counts outside the folder: a restored copy of it is not found out")
    return found


def same_mount(path: Path, other: Path) -> bool:
    """Whether two paths are on one mounted file system (`st_dev`); of a path that is not there yet, its nearest parent."""
    return _device(path) == _device(other)


def _device(path: Path) -> int:
    for place in (path.absolute(), *path.absolute().parents):
        try:
            return place.stat().st_dev
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"{place} cannot be looked at ({error.strerror})") from error
    raise StoreError(f"{path}: not even the root folder is there")


def _credential(name: str) -> bytes:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise StoreError(
            f"credential:{name}: systemd gave this process no credentials; start it as a service whose unit has "
            f"`LoadCredentialEncrypted={name}:...`"
        )
    path = Path(folder) / name
    try:
        content = files.read(path, _MAX_BYTES, files.OTHERS_CHANGE)
    except OSError as error:
        raise StoreError(
            f"{path}: no credential is there ({error.strerror}); the unit needs `LoadCredentialEncrypted={name}:...`"
        ) from error
    return _key_in(content, str(path))


def _tpm(place: str) -> bytes:
    program = shutil.which(UNSEAL)
    if program is None:
        raise MissingPart(f"tpm:{place} needs the program {UNSEAL}; install tpm2-tools, or name another source of the key")
    try:
        done = subprocess.run([program, "-c", place], capture_output=True, timeout=_TPM_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(f"{UNSEAL} -c {place} failed ({type(error).__name__}); see whether the TPM answers") from error
    if done.returncode:
        said = first_line(ValueError(done.stderr[:_MAX_BYTES].decode("utf-8", "replace")))
        raise StoreError(f"{UNSEAL} -c {place} ended with {done.returncode}: {said}")
    return _key_in(done.stdout, f"what {UNSEAL} -c {place} gave")


def _key_in(content: bytes, name: str) -> bytes:
    return content if len(content) == keys.BYTES else keys.parsed(content[:_MAX_BYTES], name).secret
