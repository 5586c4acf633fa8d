"""Codecs of DICOM pixels: do they let other threads run, what do two threads cost, what does a header cost.

    scripts/bench dicom_codecs [--json]

Frames are real ones of the CT series of shared/data, encoded here without loss. Silence: the longest stretch of a decode
in which the main thread got no turn, as a share of the decode; near 1 the interpreter lock was held, near 0 it was not.
Two controls are measured beside: sorted(), which holds it, and zlib, which releases it.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from form import Row, data_root, make_row, need, show

from fedmed.clock import generator
from fedmed.dicom.decoders import compressed
from fedmed.dicom.header import Header
from fedmed.dicom.instance import Instance, pixel_dtype, read_instance
from fedmed.dicom.pixels import decode, decode_into
from fedmed.dicom.sources import of_file

Work = Callable[[Any], object]

FRAMES = 4
ROUNDS = 7
SWITCH_SECONDS = 1e-4
HELD, RELEASED = 0.8, 0.25
"""Silence of the first control is above, of the second below; a codec that releases the lock is below as well."""

Encoder = Callable[[np.ndarray], bytes]
# Transfer syntax, encoder, and how often a slice is repeated down and across: a call must last longer than the system's
# own time slices, or a busy machine looks like a held lock.
ENCODERS: dict[str, tuple[str, Encoder, int]] = {
    "JPEG baseline .50": (
        "1.2.840.10008.1.2.4.50",
        lambda a: imagecodecs.jpeg8_encode((a >> 4).astype(np.uint8), level=95),
        8,
    ),
    "JPEG lossless .70": ("1.2.840.10008.1.2.4.70", lambda a: imagecodecs.ljpeg_encode(a, bitspersample=16), 4),
    "JPEG-LS .80": ("1.2.840.10008.1.2.4.80", lambda a: imagecodecs.jpegls_encode(a, level=0), 3),
    "JPEG 2000 .90": (
        "1.2.840.10008.1.2.4.90",
        lambda a: imagecodecs.jpeg2k_encode(a, level=0, codecformat="J2K", reversible=True),
        2,
    ),
    "HTJ2K .201": ("1.2.840.10008.1.2.4.201", lambda a: imagecodecs.htj2k_encode(a, reversible=True), 5),
    "RLE .5": ("1.2.840.10008.1.2.5", lambda a: rle_encoded(a), 8),
}
LOSSY = ("JPEG baseline .50",)


def rle_encoded(frame: np.ndarray) -> bytes:
    """By pydicom, in its own pure Python."""
    from pydicom.pixels.encoders import RLELosslessEncoder

    options = {
        "rows": frame.shape[0],
        "columns": frame.shape[1],
        "samples_per_pixel": 1,
        "bits_allocated": 16,
        "bits_stored": 16,
    }
    options |= {"photometric_interpretation": "MONOCHROME2", "pixel_representation": 0, "number_of_frames": 1}
    return bytes(RLELosslessEncoder.encode(frame.tobytes(), encoding_plugin="pydicom", **options))


def slices(folder: Path, count: int) -> list[Instance]:
    """The first instances of the series."""
    need(folder, "the CT series that docs/researcher.md lists")
    return [read_instance(of_file(path, path.name)) for path in sorted(folder.glob("*.dcm"))[:count]]


def silences(work: Work, inputs: Sequence[object]) -> list[float]:
    """Of each call of `work` in a thread: the longest stretch without a turn of this one, as a share of the call."""
    calls: list[tuple[float, float]] = []
    done = threading.Event()

    def run() -> None:
        for one in inputs:
            began = time.perf_counter()
            work(one)
            calls.append((began, time.perf_counter()))
        done.set()

    thread = threading.Thread(target=run)
    turns: list[float] = []
    thread.start()
    while not done.is_set():
        turns.append(time.perf_counter())
    thread.join()
    at = np.array(turns)
    shares = []
    for began, ended in calls:
        inside = np.concatenate([[began], at[(at > began) & (at < ended)], [ended]])
        shares.append(float(np.diff(inside).max() / (ended - began)))
    return shares


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor seconds of all threads, once."""
    began = time.process_time()
    work()
    return time.process_time() - began


def in_threads(count: int, work: Work, inputs: Sequence[object]) -> None:
    """All inputs through `work`, by `count` threads."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, inputs))


def works_of(instances: list[Instance]) -> dict[str, tuple[Work, Sequence[object]]]:
    """What is measured, by name: the controls, then each codec on its own encoding of the same slices, checked."""
    numbers = generator(1, "sorted").random(120_000).tolist()
    works: dict[str, tuple[Work, Sequence[object]]] = {
        "control, lock held: sorted": (sorted, [numbers] * FRAMES),
        "control, lock released: zlib": (zlib.compress, [os.urandom(2_000_000)] * FRAMES),
    }
    for name, (syntax, encode, times) in ENCODERS.items():
        truth = [np.tile(decode(instance).astype("<u2"), (times, times)) for instance in instances]
        rows, columns = truth[0].shape
        header = replace(
            instances[0].header, transfer_syntax=syntax, bits_stored=16, high_bit=15, rows=rows, columns=columns
        )
        encoded = [bytes(encode(frame)) for frame in truth]
        one = frame_decoder(header)
        for data, original in zip(encoded, truth, strict=True):
            if name not in LOSSY and not np.array_equal(one(data), original):
                raise SystemExit(f"{name}: the decoded frame is not the original")
        works[name] = one, encoded
    return works


def codec_rows(instances: list[Instance]) -> list[Row]:
    """Silence, and processor time of one and of two threads, for each codec."""
    works = works_of(instances)
    shares: dict[str, list[float]] = {name: [] for name in works}
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):  # interleaved, so that a busy moment hits all alike
        for name, (work, inputs) in works.items():
            shares[name] += silences(work, inputs)
            for threads in (1, 2):
                seconds.setdefault((name, threads), []).append(cpu_seconds(partial(in_threads, threads, work, inputs)))
    rows = []
    for name in works:
        silence, held = statistics.median(shares[name]), "lock held" in name
        holds = silence >= HELD if held else silence <= RELEASED
        bar = f">= {HELD}" if held else f"<= {RELEASED}"
        rows.append(make_row(f"{name}: silence, median of {len(shares[name])}", silence, "of the call", bar, holds))
        if name in ENCODERS:
            one, two = min(seconds[name, 1]), min(seconds[name, 2])
            slices_decoded = FRAMES * ENCODERS[name][2] ** 2
            rows.append(make_row(f"{name}: CPU a slice of 512 x 512", 1e3 * one / slices_decoded, "ms"))
            rows.append(make_row(f"{name}: CPU of two threads / of one", two / one, "x", "<= 1.1", two <= 1.1 * one))
    return rows


def frame_decoder(header: Header) -> Work:
    """One frame through the back end that fedmed picks."""
    backend = compressed.backend_for(header.transfer_syntax)

    def one(data: bytes) -> np.ndarray:
        out = np.empty((header.rows, header.columns), "u2")
        backend.decode_frame(data, header, out)
        return out

    return one


def header_rows(folder: Path) -> list[Row]:
    """Reading headers and uncompressed pixels of the whole series, against pydicom, interleaved."""
    paths = sorted(folder.glob("*.dcm"))
    instances = slices(folder, len(paths))
    header = instances[0].header
    volume = np.empty((len(paths), header.rows, header.columns), pixel_dtype(instances[0]))
    wanted = ["Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"]

    def decode_all() -> None:
        for number, instance in enumerate(instances):
            decode_into(instance, volume[number])

    works = {
        "header, pydicom, all elements": lambda: [pydicom.dcmread(path, stop_before_pixels=True) for path in paths],
        "header, pydicom, specific_tags": lambda: [
            pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted) for path in paths
        ],
        "header, fedmed": lambda: [read_instance(of_file(path, path.name)) for path in paths],
        "pixels into a volume, pydicom": lambda: [
            pydicom.dcmread(io.BytesIO(path.read_bytes())).pixel_array for path in paths
        ],
        "pixels into a volume, fedmed": decode_all,
        "file read whole": lambda: [path.read_bytes() for path in paths],
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            best[name] = min(best[name], cpu_seconds(work))
    return [make_row(f"{name}, CPU a file, best of {ROUNDS}", 1e3 * best[name] / len(paths), "ms") for name in works]


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = data_root() / "ct" / "acrin_chest_petct_49"
    sys.setswitchinterval(SWITCH_SECONDS)
    rows = header_rows(folder) + codec_rows(slices(folder, FRAMES))
    show("dicom_codecs", rows, options.json)


if __name__ == "__main__":
    main()
