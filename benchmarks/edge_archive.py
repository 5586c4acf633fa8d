"""The archive: studies to a folder and back, beside tar and openssl in the same run.

    python -m benchmarks.edge_archive [--json]

Equal work: pack, encrypt, have it on the disk, read it back, decrypt, compare; and back: decrypt, unpack, on the disk. The
peer is GNU tar through `openssl enc -aes-256-ctr`, which proves nothing by itself, so `tar --compare` does. Ours names each
pack by a keyed digest, proves every chunk and object, and keeps an index.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.form import Row, make_row, show
from fedmed.clock import SystemClock
from fedmed.hub.kept import KeptFiles
from fedmed.hub.landing import Arrived
from fedmed.hub.messages import Piece
from fedmed.hub.serving import folder_keeper
from fedmed.store.archive.archive import Archive, Party
from fedmed.store.archive.index import Index
from fedmed.store.archive.plan import Rule
from fedmed.store.archive.vault import Vault
from fedmed.store.blobs import FolderStore
from fedmed.wire.tensors import sha256

STUDIES, IMAGES, BYTES, RUNS = 4, 40, 1 << 19, 5
SECRET = ("-aes-256-ctr", "-K", "6b" * 32, "-iv", "00" * 16)


def rows() -> list[Row]:
    """MB/s there (removed here at the end) and back, ours and the peer's."""
    timed: dict[str, list[float]] = {"ours there": [], "ours back": [], "peer there": [], "peer back": []}
    with tempfile.TemporaryDirectory() as place:
        for run in range(RUNS):
            for name, once in {**_ours(Path(place) / f"o{run}"), **_peer(Path(place) / f"p{run}")}.items():
                timed[name].append(once)
    size = STUDIES * IMAGES * BYTES / 1e6
    found = []
    for name, seconds in timed.items():
        told = f"archive: {name}, {IMAGES} images of {BYTES >> 10} KiB a study"
        found.append(make_row(f"{told}, best of {RUNS}", size / min(seconds), "MB/s"))
        found.append(make_row(f"{told}, median", size / statistics.median(seconds), "MB/s"))
    return found


def _ours(place: Path) -> dict[str, float]:
    clock, folder = SystemClock(), place / "studies"
    for study in range(STUDIES):
        contents = [os.urandom(BYTES) for _ in range(IMAGES)]
        folder_keeper(folder)([Arrived("ct", _piece(each, f"1.{study}"), each) for each in contents])
    vault, index = Vault(FolderStore(place / "away"), b"k" * 32, "north", clock), Index(place / "index", b"k" * 32)
    party, rule = Party("north", "site", lambda said: None), Rule(keep_bytes=0)
    archive = Archive(place, KeptFiles(folder), vault, index, rule, list, party, clock)
    archive.open()

    def there() -> None:
        for group in archive.due().go:
            archive.move(group)

    def back() -> None:
        for study in range(STUDIES):
            archive.recall(f"1.{study}")

    found = {"ours there": _seconds(there), "ours back": _seconds(back)}
    index.close()
    return found


def _peer(place: Path) -> dict[str, float]:
    for study in range(STUDIES):
        (place / f"1.{study}").mkdir(parents=True)
        for image in range(IMAGES):
            (place / f"1.{study}" / str(image)).write_bytes(os.urandom(BYTES))
    _sh("sync .", place)
    enc = " ".join(("openssl enc", *SECRET))
    pack, proof = f"tar c $s | {enc} > $s.away && sync $s.away", f"{enc} -d < $s.away | tar --compare -f -"
    there = f"for s in 1.*; do {pack} && {proof} && rm -r $s; done"
    back = f"for s in *.away; do {enc} -d < $s | tar x; done; sync -f ."
    return {"peer there": _seconds(lambda: _sh(there, place)), "peer back": _seconds(lambda: _sh(back, place))}


def _piece(content: bytes, study: str) -> Piece:
    return Piece(sha256(content), "study", len(content), {"study": study})


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _sh(command: str, place: Path) -> None:
    subprocess.run(["bash", "-eo", "pipefail", "-c", command], cwd=place, check=True)


if __name__ == "__main__":
    show("edge_archive", rows(), "--json" in sys.argv)
