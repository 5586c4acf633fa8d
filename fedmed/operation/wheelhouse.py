"""A folder of wheels that a clinic installs from without a network: every file listed, the list signed.

*.whl                 fedmed and all that it needs        SHA256SUMS        as `sha256sum --check` reads it
requirements.txt      name, version, digest of each       SHA256SUMS.sig    Ed25519 over the list, in hexadecimal
sbom.cdx.json         CycloneDX, of requirements.txt
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from fedmed.errors import ConfigError, StoreError
from fedmed.identity import files
from fedmed.identity.member import joined, verify
from fedmed.identity.releases import ReleaseKey

SUMS, SIGNATURE, REQUIREMENTS, SBOM = "SHA256SUMS", "SHA256SUMS.sig", "requirements.txt", "sbom.cdx.json"
MAX_LIST = 4 << 20
_WHEEL = re.compile(r"([A-Za-z0-9_.]+)-([^-/]+)(-[0-9][^-/]*)?-[^-/]+-[^-/]+-[^-/]+\.whl")
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_.+!-]+)")
_BLOCK = 1 << 20


class WheelhouseRefused(StoreError):
    """A wheelhouse is not, file for file, what was signed; the text names the files."""


@dataclass(frozen=True)
class Checked:
    """A wheelhouse that is as it was signed."""

    wheels: int
    bytes: int


def requirements(folder: Path) -> str:
    """All wheels with version and digest, as `pip install --require-hashes -r` reads it. Raises ConfigError, StoreError."""
    lines = []
    for name in sorted(_names(folder)):
        if name.endswith(".whl"):
            found = _WHEEL.fullmatch(name)
            if found is None:
                raise ConfigError(
                    f"{folder / name} has no name of a wheel (NAME-VERSION-PYTHON-ABI-PLATFORM.whl); remove it"
                )
            lines.append(f"{found[1].replace('_', '-').lower()}=={found[2]} --hash=sha256:{_sha256(folder / name)}\n")
    if not lines:
        raise ConfigError(f"{folder} holds no wheels; scripts/wheelhouse FOLDER fills one")
    return "".join(lines)


def sign(folder: Path, key: ReleaseKey) -> int:
    """List every file and sign the list; how many. Raises ConfigError where something lacks, StoreError."""
    names = sorted(_names(folder) - {SUMS, SIGNATURE})
    if lacking := sorted({REQUIREMENTS, SBOM} - set(names)):
        raise ConfigError(f"{folder} lacks {' and '.join(lacking)}; scripts/wheelhouse writes them")
    if strange := [name for name in names if not _LINE.fullmatch(f"{'0' * 64}  {name}")]:
        raise ConfigError(f"{folder} holds {strange[0]!r}; allowed are letters, digits, '_', '.', '+', '!', '-' in a name")
    content = "".join(f"{_sha256(folder / name)}  {name}\n" for name in names).encode()
    try:
        (folder / SUMS).write_bytes(content)
        (folder / SIGNATURE).write_text(f"{key.sign(_signed(content)).hex()}\n")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror})") from error
    return len(names)


def check(folder: Path, public: bytes) -> Checked:
    """That nothing was altered, added or taken away since the holder of `public` (Ed25519) signed it.

    Raises WheelhouseRefused, StoreError where it cannot be read.
    """
    try:
        content = files.read(folder / SUMS, MAX_LIST, 0)
        signature = bytes.fromhex(files.read(folder / SIGNATURE, MAX_LIST, 0).decode())
    except OSError as error:
        raise StoreError(f"{error.filename}: cannot be read ({error.strerror}); name a wheelhouse's folder") from error
    except ValueError as error:
        raise WheelhouseRefused(f"{folder / SIGNATURE} is no signature; take the wheelhouse anew") from error
    if not verify(public, signature, _signed(content)):
        raise WheelhouseRefused(
            f"{folder / SUMS} was not signed with this key: altered, or of somebody else; install nothing"
        )
    told = {found[2]: found[1] for line in content.decode().splitlines() if (found := _LINE.fullmatch(line))}
    there = _names(folder) - {SUMS, SIGNATURE}
    wrong = [f"{name} is missing" for name in sorted(told.keys() - there)]
    wrong += [f"{name} is not listed" for name in sorted(there - told.keys())]
    wrong += [f"{name} was altered" for name in sorted(told.keys() & there) if _sha256(folder / name) != told[name]]
    if wrong:
        raise WheelhouseRefused(f"{folder}: {'; '.join(wrong[:10])}. Install nothing; take the wheelhouse anew")
    wheels = [name for name in there if name.endswith(".whl")]
    return Checked(len(wheels), sum((folder / name).stat().st_size for name in there))


def _signed(content: bytes) -> bytes:
    return joined(b"fedmed/wheelhouse/1", content)


def _names(folder: Path) -> set[str]:
    """All there is; a folder or a link among it is refused, since no list names it."""
    try:
        found = list(folder.iterdir())
    except OSError as error:
        raise StoreError(f"{folder}: cannot be read ({error.strerror}); name a wheelhouse's folder") from error
    if strange := [path.name for path in found if path.is_symlink() or not path.is_file()]:
        raise WheelhouseRefused(f"{folder}: {strange[0]!r} is no plain file; remove it")
    return {path.name for path in found}


def _sha256(path: Path) -> str:
    hashed = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                hashed.update(block)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    return hashed.hexdigest()
