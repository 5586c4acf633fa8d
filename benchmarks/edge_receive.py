"""Images received over DICOM: our receiver, each object on the disk before it is acknowledged, beside DCMTK and pynetdicom.

    python benchmarks/edge_receive.py [--json] [--runs 5] [--objects 675] [--folder ON_THE_DISK_TO_MEASURE]

Equal work: the same MR objects of half a megabyte over one association by DCMTK's `storescu`, and what each receiver kept is
compared with what was sent. `storescp` (tuned: TCP_NODELAY, PDUs of 128 KiB, bytes as received) does not sync; the bar adds
the time of fsync for the same files, measured in the same run. Ours is measured with one synced file an object, and with
the device's spool. Runs take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from form import Row, make_row, show  # noqa: E402

MR, EXPLICIT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1"
TUNED, UNTUNED = {"TCP_NODELAY": "1"}, {"TCP_NODELAY": "0"}
KEY = bytes(range(32))
SIDE = 512
PARALLEL, PIECES = 4, 40


def write_objects(folder: Path, count: int) -> list[Path]:
    """MR slices of 512 x 512 x 2 bytes in `PARALLEL` folders."""
    from pydicom.dataset import Dataset, FileMetaDataset

    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        found = Dataset()
        found.SOPClassUID, found.SOPInstanceUID = MR, f"1.2.826.0.1.3680043.9.{number + 1}"
        found.StudyInstanceUID, found.SeriesInstanceUID, found.Modality = "1.2.826.1", "1.2.826.1.1", "MR"
        found.Rows = found.Columns = SIDE
        found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 16, 12, 11, 0
        found.SamplesPerPixel, found.PhotometricInterpretation, found.InstanceNumber = 1, "MONOCHROME2", number + 1
        found.PixelData = rng.integers(0, 4096, (SIDE, SIDE), dtype="u2").tobytes()
        found.file_meta = FileMetaDataset()
        found.file_meta.TransferSyntaxUID = EXPLICIT
        path = folder / str(number % PARALLEL) / f"{number:04}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        found.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def digest(data: bytes) -> str:
    """Of a file's data set: its meta information is each receiver's own."""
    return hashlib.sha256(data[144 + int.from_bytes(data[140:144], "little") :]).hexdigest()


def file_keeper(folder: Path) -> Callable[[bytes, Mapping[str, Any]], Any]:
    """One synced file an object: what any keeper must do at least."""
    from fedmed.dicom.arrivals import Kept

    def keep(content: bytes, facts: Mapping[str, Any]) -> Kept:
        handle = os.open(folder / facts["sop_instance"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
        return Kept(True)

    return keep


def spool_keeper(folder: Path) -> Callable[[bytes, Mapping[str, Any]], Any]:
    """The spool, sealed, as on a device."""
    from fedmed.clock import SystemClock
    from fedmed.dicom.arrivals import Kept
    from fedmed.store.spool.entry import REAL_TIME, New
    from fedmed.store.spool.quota import Quota
    from fedmed.store.spool.spool import Spool

    spool = Spool(folder, SystemClock(), Quota(), lambda entry, why: None, KEY)

    def keep(content: bytes, facts: Mapping[str, Any]) -> Kept:
        [put] = spool.put(New("instance", str(facts["study"]), REAL_TIME, facts, content))
        return Kept(put.is_new)

    return keep


KEEPERS = {"file": file_keeper, "spool": spool_keeper}


def serve_ours(port: int, folder: Path, keeper: str, proof: Path | None) -> None:
    """In a process of its own; under TLS with the files in `proof`."""
    from fedmed.clock import SystemClock
    from fedmed.dicom.receiving import Receiver, ReceiverConfig, ReceiverTls

    tls = None if proof is None else ReceiverTls(proof / "own.pem", proof / "own.key", proof / "own.pem")
    config = ReceiverConfig(port=port, ae_title="BENCH", tls=tls)
    Receiver(config, KEEPERS[keeper](folder), SystemClock(), lambda *told: print(told, file=sys.stderr)).start()
    threading.Event().wait()


def serve_pynetdicom(port: int, folder: Path) -> None:
    """pynetdicom as its documentation shows it, with PDUs of 128 KiB, no log handlers, and the same synced files."""
    from pynetdicom import AE, AllStoragePresentationContexts, _config, evt

    _config.LOG_HANDLER_LEVEL = "none"

    def handle(event: Any) -> int:
        path = folder / event.request.AffectedSOPInstanceUID
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(handle, event.encoded_dataset())
        os.fsync(handle)
        os.close(handle)
        return 0

    ae = AE(ae_title="BENCH")
    ae.supported_contexts, ae.maximum_pdu_size = AllStoragePresentationContexts, 131072
    ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, handle)])


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, **environment: str) -> Iterator[None]:
    """A receiver, from its first connection on until it is ended."""
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(300):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield
        finally:
            process.kill()


def sending(port: int, folder: Path, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    """`storescu` on its way with all files below `folder`."""
    command = ["storescu", "-aec", "BENCH", *options, "+sd", "+r", "127.0.0.1", str(port), str(folder)]
    return subprocess.Popen(command, env={**os.environ, **environment})


@dataclass(frozen=True)
class Peer:
    """A receiver in a process of its own, and where it puts files."""

    name: str
    port: int
    folder: Path
    tuned: bool = True

    def seconds(self, sources: list[Path], wanted: set[str]) -> float:
        """For all objects below `sources`, one association each, all at once; ends where anything differs."""
        for path in self.folder.iterdir():
            path.unlink()
        took = timed(self.port, sources, self.tuned)
        if {digest(path.read_bytes()) for path in self.folder.iterdir()} != wanted:
            raise SystemExit(f"{self.name} has not kept what was sent")
        return took


def proofs(folder: Path) -> Path:
    """A folder with one certificate that both sides show and believe."""
    folder.mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-keyout", str(folder / "own.key"), "-out", str(folder / "own.pem"), "-subj", "/CN=localhost"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def timed(port: int, sources: list[Path], tuned: bool = True, proof: Path | None = None) -> float:
    """Seconds for all objects below `sources`, one association each, all at once; under TLS with the files in `proof`."""
    options, environment = (("--max-send-pdu", "131072"), TUNED) if tuned else (("--max-send-pdu", "16384"), UNTUNED)
    if proof is not None:
        options += ("+tls", str(proof / "own.key"), str(proof / "own.pem"), "+cf", str(proof / "own.pem"))
    begin = time.perf_counter()
    senders = [sending(port, source, *options, **environment) for source in sources]
    codes = [sender.wait() for sender in senders]
    took = time.perf_counter() - begin
    if any(codes):
        raise SystemExit(f"storescu ended with {codes}")
    return took


def spool_seconds(root: Path, sources: list[Path], wanted: set[str], proof: Path | None = None) -> float:
    """As `Peer.seconds`, for ours with a new spool, which is read when the receiver has been killed."""
    from fedmed.clock import SystemClock
    from fedmed.store.spool.quota import Quota
    from fedmed.store.spool.spool import Spool

    port, folder, found = free_port(), root / "spool", set()
    with running([*serving(port, folder, "spool"), *([] if proof is None else ["--proof", str(proof)])], port):
        took = timed(port, sources, proof=proof)
    with Spool(folder, SystemClock(), Quota(), lambda entry, why: None, KEY) as spool:
        while entry := spool.next(["instance"], time.time()):
            found.add(digest(spool.content(entry)))
            spool.done(entry.number)
    shutil.rmtree(folder)
    if found != wanted:
        raise SystemExit("the spool has not kept what was sent")
    return took


def pieces_seconds(port: int) -> float:
    """For small objects from a sender that writes head and body of each PDU apart, with Nagle's algorithm on."""
    from types import SimpleNamespace

    from tests.dicom.senders import Wire, data_set_of, image, pdu, request, store_command, value

    data_set = data_set_of(image(1, 64))
    command = pdu(4, value(store_command("1.2.826.9.1"), of_command=True, last=True))
    data = pdu(4, value(data_set, of_command=False, last=True))
    with Wire(SimpleNamespace(port=port)) as wire:  # type: ignore[arg-type]
        wire.send(request(called="BENCH"))
        wire.hear()
        begin = time.perf_counter()
        for _ in range(PIECES):
            for piece in (command, data[:6], data[6:]):
                wire.send(piece)
            if wire.status():
                raise SystemExit("an object was not kept")
        took = time.perf_counter() - begin
        wire.send(pdu(5, bytes(4)))
        return took


def serving(port: int, folder: Path, keeper: str) -> list[str]:
    """The command of our receiver."""
    return [sys.executable, str(HERE), "--serve", str(port), "--folder", str(folder), "--keeper", keeper]


def fsync_seconds(paths: list[Path], folder: Path) -> float:
    """Of fsync alone, for the same bytes in new files."""
    took = 0.0
    for number, path in enumerate(paths):
        handle = os.open(folder / str(number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(handle, path.read_bytes())
        begin = time.perf_counter()
        os.fsync(handle)
        took += time.perf_counter() - begin
        os.close(handle)
    for path in folder.iterdir():
        path.unlink()
    return took


@contextmanager
def peers(root: Path) -> Iterator[dict[str, Peer]]:
    """All receivers, each in its own process."""
    found = {name: Peer(name, free_port(), root / name) for name in ("ours", "storescp", "pynetdicom")}
    for peer in found.values():
        peer.folder.mkdir()
    ours, theirs, python = found.values()
    dcmtk = ["storescp", "+B", "-pdu", "131072", "-od", str(theirs.folder), str(theirs.port)]
    with (
        running(serving(ours.port, ours.folder, "file"), ours.port),
        running(dcmtk, theirs.port, **TUNED),
        running(
            [sys.executable, str(HERE), "--serve-pynetdicom", str(python.port), "--folder", str(python.folder)], python.port
        ),
    ):
        untuned = Peer("ours, untuned sender", ours.port, ours.folder, tuned=False)
        yield {**found, "untuned": untuned, "dcmtk untuned": Peer("storescp", theirs.port, theirs.folder, tuned=False)}


def measure(runs: int, objects: int, folder: Path | None = None) -> list[Row]:
    """All rows; `folder` is on the disk to be measured."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        paths = write_objects(root / "sent", objects)
        wanted = {digest(path.read_bytes()) for path in paths}
        every, parts = [root / "sent"], [root / "sent" / str(number) for number in range(PARALLEL)]
        (root / "synced").mkdir()
        took: dict[str, list[float]] = {}
        with peers(root) as known:
            jobs: dict[str, Callable[[], float]] = {
                name: lambda peer=peer: peer.seconds(every, wanted) for name, peer in known.items()
            }
            jobs["parallel"] = lambda: known["ours"].seconds(parts, wanted)
            proof = proofs(root / "proof")
            jobs["spool"] = lambda: spool_seconds(root, every, wanted)
            jobs["spool parallel"] = lambda: spool_seconds(root, parts, wanted)
            jobs["spool tls"] = lambda: spool_seconds(root, every, wanted, proof)
            for name in ("ours", "storescp"):
                jobs[f"pieces to {name}"] = lambda port=known[name].port: pieces_seconds(port)
            jobs["fsync"] = lambda: fsync_seconds(paths, root / "synced")
            for number in range(runs):
                for name, job in jobs.items():
                    took.setdefault(name, []).append(job())
                sys.stderr.write(f"run {number}: load {os.getloadavg()[0]:.1f}\n")
        return rows_of(took, objects)


def rows_of(took: dict[str, list[float]], objects: int) -> list[Row]:
    """Seconds a job and run -> rows."""
    bars = [dcmtk + sync for dcmtk, sync in zip(took["storescp"], took["fsync"], strict=True)]
    size = objects * SIDE * SIDE * 2 / 2**20
    rows = []
    for keeper, text in (("ours", "one synced file each"), ("spool", "the device's spool")):
        least = min(took[keeper]) / min(bars)
        middle = statistics.median(took[keeper]) / statistics.median(bars)
        rate = objects / statistics.median(took[keeper])
        rows += [
            make_row(f"receive into {text}, against storescp plus fsyncs, minimum", least, "times", "<= 3", least <= 3),
            make_row(f"receive into {text}, against storescp plus fsyncs, median", middle, "times", "<= 3", middle <= 3),
            make_row(f"receive into {text}, one association, median", rate, "objects/s", ">= 60", rate >= 60),
            make_row(f"receive into {text}, one association, median", size / statistics.median(took[keeper]), "MiB/s"),
        ]
    names = {
        "ours": "ours, one synced file each",
        "parallel": f"ours, one synced file each, {PARALLEL} associations, nothing lost",
        "untuned": "ours, one synced file each, sender untuned",
        "spool": "ours, the spool",
        "spool tls": "ours, the spool, under TLS",
        "spool parallel": f"ours, the spool, {PARALLEL} associations, nothing lost",
        "storescp": "storescp tuned, not durable",
        "dcmtk untuned": "storescp tuned, sender untuned, not durable",
        "fsync": "fsyncs of the same files",
        "pynetdicom": "pynetdicom as the receiver, one synced file each",
    }
    for name, text in names.items():
        rows.append(make_row(f"{text}, minimum", min(took[name]), "s"))
        rows.append(make_row(f"{text}, median", statistics.median(took[name]), "s"))
    for name in ("ours", "storescp"):
        pieces = min(took[f"pieces to {name}"]) / PIECES * 1000
        rows.append(make_row(f"{name}, 8 KiB objects in pieces with Nagle's algorithm, minimum", pieces, "ms/object"))
    return rows


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--objects", type=int, default=675)
    parser.add_argument("--keeper", choices=sorted(KEEPERS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--proof", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--serve-pynetdicom", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_ours(options.serve, options.folder, options.keeper, options.proof)
    elif options.serve_pynetdicom:
        serve_pynetdicom(options.serve_pynetdicom, options.folder)
    else:
        if missing := [name for name in ("storescu", "storescp") if not shutil.which(name)]:
            raise SystemExit(f"{' and '.join(missing)} must be installed (Debian: dcmtk)")
        show("edge receive", measure(options.runs, options.objects, options.folder), options.json)


if __name__ == "__main__":
    main()
