"""Secure aggregation: a client's and the center's arithmetic beside Flower's own SecAgg+, and whole rounds of the protocol.

    python benchmarks/secagg.py [--json] [--quick]

Equal work in one process, in turn: a client quantises 10M weights, adds 9 pairwise masks and its own, and makes the bytes to
send; the center takes 24 masks off a sum (10 clinics, two of them gone). Flower's arithmetic is that of flwr.common
.secure_aggregation as its mod and workflow call it, in the one thread that it has; ours is shown in one thread and on all
cores, and also with the SHA-256 that the upload's signature needs, as Flower signs nothing. Our decoded sum is compared
with the true one. Where TenSEAL is installed, there are rows of an upload under CKKS, too, measured on 1M weights. With a
GPU there are rows of its masks, the vector's way there and back included, compared with the CPU's.

The whole rounds run every client and the center in this process, nothing sampled: keys, shares, uploads, signatures, shares
opened. `--quick` leaves them out.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from flwr.common import ndarray_to_bytes
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    parameters_addition,
    parameters_mod,
    parameters_multiply,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.supercore.primitives.asymmetric import generate_key_pairs
from form import Row, make_row, show
from secagg_ckks import ckks
from secagg_rounds import whole_round

from fedmed.privacy import keystream
from fedmed.privacy.keystream import CHUNK_BYTES, SPARE_BYTES, ZEROS
from fedmed.privacy.secagg import cuda, masks
from fedmed.privacy.secagg.layout import Layout, Tensor, Whole
from fedmed.privacy.secagg.masks import Stream
from fedmed.privacy.secagg.schedule import vector_digest

SIZE, CLINICS, GONE = 10_000_000, 10, 2
TURNS = 5
CORES = os.cpu_count() or 1
CENTER_MASKS = (CLINICS - GONE) + GONE * (CLINICS - GONE)
FLOWER_CLIP, FLOWER_TARGET, FLOWER_MODULUS = 8.0, 1 << 22, 1 << 32  # its defaults
Seconds = dict[str, list[float]]
os.environ["FEDMED_MASKS"] = "cpu"  # "all cores" are the CPU's


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="leave the whole rounds out")
    options = parser.parse_args()
    rows = [*arithmetic(), *on_gpu()]
    if not options.quick:
        rows += whole_rounds()
    show("secagg", rows, options.json)


def arithmetic() -> list[Row]:
    """Client and center beside Flower's, and the floor of the same run."""
    x = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32) * np.float32(0.01)
    sizes = {}
    arms: dict[str, Callable[[], object]] = {
        "flower client": lambda: sizes.update(flower=len(flower_client(x))),
        "client 32": lambda: sizes.update(ours32=our_client(x, 32, 1).nbytes),
        "client 32, all cores": lambda: our_client(x, 32, None),
        "client 32, all cores, digest": lambda: vector_digest(our_client(x, 32, None), CORES),
        "client 16": lambda: sizes.update(ours16=our_client(x, 16, 1).nbytes),
        "flower center": flower_center,
        "center": lambda: our_center(1),
        "center, all cores": lambda: our_center(None),
        "masks": lambda: masks.apply(np.zeros(SIZE, np.uint32), streams(CLINICS), 1),
        "floor": floor,
    }
    our_client(x, 32, 1), our_client(x, 16, 1)  # compiles
    taken: Seconds = {name: [] for name in arms}
    for _ in range(TURNS):
        for name, arm in arms.items():
            began = time.perf_counter()
            arm()
            taken[name].append(time.perf_counter() - began)
    check_sums()
    return [*_times(taken), *_ratios(taken), *_sizes(sizes), *ckks(sizes["ours32"] / SIZE)]


def on_gpu() -> list[Row]:
    """The masks of a client and of the center by the kernel, or one row that says why not."""
    if reason := cuda.why_not():
        return [{"name": "masks on a GPU", "value": "-", "unit": f"not measured: {reason}", "bar": "", "holds": None}]
    rows = []
    for name, count in (("client", CLINICS), ("center", CENTER_MASKS)):
        seeds, taken = streams(count), []
        for _ in range(TURNS):
            lanes = np.zeros(SIZE, np.uint32)
            began = time.perf_counter()
            cuda.apply(lanes, seeds)
            taken.append(time.perf_counter() - began)
        is_same = np.array_equal(lanes, masks.expand(SIZE, np.uint32, seeds))
        rows += [
            make_row(f"{name}: {count} masks on the GPU: min", min(taken) * 1e3, "ms, copies included"),
            make_row(f"{name}: {count} masks on the GPU: median", median(taken) * 1e3, "ms, copies included"),
            make_row(f"{name}: the GPU's masks are the CPU's", int(is_same), "", "1", is_same),
        ]
    return rows


def _times(taken: Seconds) -> list[Row]:
    return [
        make_row(f"{name}: {what}", number(seconds) * 1e3, "ms")
        for name, seconds in taken.items()
        for what, number in (("min", min), ("median", median))
    ]


def _ratios(taken: Seconds) -> list[Row]:
    middle = {name: median(seconds) for name, seconds in taken.items()}
    client = middle["flower client"] / middle["client 32, all cores"]
    center = middle["flower center"] / middle["center, all cores"]
    alone = middle["flower client"] / middle["client 32"], middle["flower center"] / middle["center"]
    share = 100 * middle["floor"] / middle["masks"]
    signed = middle["flower client"] / middle["client 32, all cores, digest"]
    return [
        make_row("client: times faster than Flower's, with a digest", signed, "x, medians"),
        make_row("client: times faster than Flower's, one thread", alone[0], "x, medians"),
        make_row("center: times faster than Flower's, one thread", alone[1], "x, medians"),
        make_row("client: times faster than Flower's", client, "x, medians", ">= 18", client >= 18),
        make_row("center: times faster than Flower's", center, "x, medians", ">= 12", center >= 12),
        make_row("masks: share of keystream plus addition", share, "%, medians", ">= 45 (60)", share >= 45),
    ]


def _sizes(sizes: dict[str, int]) -> list[Row]:
    rows = [make_row("upload: Flower", sizes["flower"] / SIZE, "bytes a parameter")]
    for name, bar in (("ours32", 4.01), ("ours16", 2.01)):
        each = sizes[name] / SIZE
        rows.append(make_row(f"upload: {name}", each, "bytes a parameter", f"<= {bar}", each <= bar))
    return rows


def streams(count: int) -> list[Stream]:
    """Masks under fresh seeds."""
    return [Stream(os.urandom(24), 1 if number % 2 else -1) for number in range(count)]


def layout(bits: int) -> Layout:
    """One tensor and a weight."""
    return Layout((Tensor("w", (SIZE,)),), (Whole("weight", 1000),), bits, CLINICS, 1.0, 1000)  # type: ignore[arg-type]


def our_client(x: np.ndarray, bits: int, threads: int | None) -> np.ndarray:
    """Quantise and mask; the bytes to send are the vector's own."""
    lanes = layout(bits).write({"w": x}, 1000, {"weight": 1000}, os.urandom(24))
    masks.apply(lanes, streams(CLINICS), threads)
    return lanes


KEYS = [generate_key_pairs() for _ in range(2)]


def flower_client(x: np.ndarray) -> bytes:
    """As flwr's secaggplus_mod: quantise, one self mask, a mask a neighbour, modulus, bytes."""
    found = quantize(parameters_multiply([x], 1.0), FLOWER_CLIP, FLOWER_TARGET)
    found = parameters_addition(found, pseudo_rand_gen(os.urandom(32), FLOWER_MODULUS, [(SIZE,)]))
    for number in range(CLINICS - 1):
        mask = pseudo_rand_gen(generate_shared_key(KEYS[0][0], KEYS[1][1]), FLOWER_MODULUS, [(SIZE,)])
        found = parameters_addition(found, mask) if number % 2 else parameters_subtraction(found, mask)
    return ndarray_to_bytes(parameters_mod(found, FLOWER_MODULUS)[0])


def flower_center() -> object:
    """As flwr's workflow: every mask off an int64 vector, out of place."""
    found = [np.zeros(SIZE, np.int64)]
    for _ in range(CENTER_MASKS):
        found = parameters_subtraction(found, pseudo_rand_gen(os.urandom(32), FLOWER_MODULUS, [(SIZE,)]))
    return parameters_mod(found, FLOWER_MODULUS)


def our_center(threads: int | None) -> None:
    """Every mask off the sum in place."""
    masks.apply(np.zeros(SIZE, np.uint32), streams(CENTER_MASKS), threads)


def floor() -> None:
    """The keystream of ten masks alone, and ten additions in the cache alone: what masking cannot be faster than."""
    words = np.zeros(CHUNK_BYTES // 4 + SPARE_BYTES // 4, np.uint32)
    view, total = words.view(np.uint8).data, np.zeros(CHUNK_BYTES // 4, np.uint32)
    chunks = -(-4 * SIZE // CHUNK_BYTES) * CLINICS
    fill = keystream.segment(os.urandom(24), 0, keystream.fastest())
    for _ in range(chunks):
        fill(ZEROS, view)
    for _ in range(chunks):
        np.add(total, words[: len(total)], out=total)


def check_sums() -> None:
    """Masks that two clients share cancel: their sum decodes to the mean of what they put in. Raises AssertionError."""
    x = [np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32) * np.float32(0.1) for seed in (1, 2)]
    x = [np.clip(each, -1, 1) for each in x]
    shared, form, total = os.urandom(24), layout(32), np.zeros(layout(32).size, np.uint32)
    for each, sign in zip(x, (1, -1), strict=True):
        lanes = form.write({"w": each}, 1000, {"weight": 1000}, os.urandom(24))
        masks.apply(lanes, [Stream(shared, sign)], 1)
        total += lanes
    found = form.read(total, 2)
    mean = found.mean(found.count("weight"))["w"]
    assert np.abs(mean - (x[0] + x[1]) / 2).max() < 1e-6


def whole_rounds() -> list[Row]:
    """100 clinics of 10M weights with 5 gone, 1,000 of 100k with 100 gone: all of it, on all cores."""
    rows = []
    for clinics, gone, size, bar_s in ((100, 5, SIZE, 5.0), (1000, 100, 100_000, None)):
        ran, name = whole_round(clinics, gone, size), f"{clinics} clinics x {size:,}, {gone} gone"
        holds = None if bar_s is None else ran.unmask_s <= bar_s
        rows += [
            make_row(f"{name}: set-up, all clients", ran.setup_s, "s"),
            make_row(f"{name}: uploads, all clients", ran.upload_s, "s"),
            make_row(f"{name}: confirm and reveal, all clients", ran.confirm_s, "s"),
            make_row(f"{name}: center opens shares", ran.recover_s, "s"),
            make_row(f"{name}: center unmasks", ran.unmask_s, "s", "" if bar_s is None else f"<= {bar_s:g}", holds),
            make_row(f"{name}: masks taken off", ran.masks, ""),
            make_row(f"{name}: center's memory", ran.vectors, "vectors", "<= 3", ran.vectors <= 3),
            make_row(f"{name}: sum is exact", int(ran.is_exact), "", "1", ran.is_exact),
        ]
    return rows


if __name__ == "__main__":
    main()
