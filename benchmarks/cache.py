"""Loading finished 224 x 224 samples: packs, the tensor store and shards, against plain reads and the webdataset package.

Every arm hands over the same float32 samples as arrays of its own (a new array for each batch of 32), in the same random
order where it can jump (packs, store, plain reads), and in the order of the file where it cannot (shards). The files are in
the page cache for all arms, so that CPU seconds tell, whatever else the machine does; a rate is samples a second of a core.
Ours checks a SHA-256 of every sample when it is first read; plain reads and webdataset check
nothing. The arms take turns, the best of `TURNS` counts. The network is MONAI's ResNet-18 in two dimensions, one channel.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from form import Row, make_row, show

from fedmed.store.entries import Form, Plain, Sealed
from fedmed.store.packs import HEADER_BYTES, Pack, write_pack
from fedmed.store.tensors import Key, TensorStore
from fedmed.wire.samples import Sample
from fedmed.wire.shards import read_shard, write_shards

SAMPLES, SIDE, BATCH, TURNS, STEPS = 1024, 224, 32, 5, 4
SAMPLE_BYTES = 4 * SIDE * SIDE
ENOUGH, SHARE_OF_READ, SHARE_OF_STEP = 5000.0, 0.8, 0.1
PARALLEL_BATCHES = 64


@dataclass
class Arm:
    """One way of loading all samples once; returns how many it handed over."""

    name: str
    load: Callable[[], int]
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """One timed pass."""
        began, worked = time.perf_counter(), time.process_time()
        count = self.load()
        self.seconds.append(time.perf_counter() - began)
        self.cpu.append(time.process_time() - worked)
        if count != SAMPLES:
            raise RuntimeError(f"{self.name} handed over {count} of {SAMPLES} samples")

    @property
    def rate(self) -> float:
        """Samples a second of one core."""
        return SAMPLES / min(self.cpu)

    def row(self, bar: str = "", holds: bool | None = None) -> Row:
        """The arm's line."""
        return make_row(self.name, self.rate, f"samples/CPU s (wall {SAMPLES / min(self.seconds):.0f}/s)", bar, holds)


def samples() -> Iterator[Sample]:
    """The set: noise, of which no two samples are alike."""
    rng = np.random.default_rng(1)
    for number in range(SAMPLES):
        array = rng.standard_normal((1, SIDE, SIDE), dtype=np.float32)
        yield Sample(f"{number:06d}", array, "ab"[number % 2])


def batches() -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """The random order in which samples are asked for."""
    return np.split(np.random.default_rng(2).permutation(SAMPLES), SAMPLES // BATCH)


def from_pack(pack: Pack) -> int:
    """All samples in batches, through a pack."""
    return sum(len(pack.batch(rows)) for rows in batches())


def plain_reads(path: Path, offset: int) -> int:
    """The same bytes by seek and read, unchecked."""
    count = 0
    with path.open("rb", buffering=0) as file:
        for rows in batches():
            batch = np.empty((BATCH, 1, SIDE, SIDE), np.float32)
            for place, row in zip(batch, rows, strict=True):
                file.seek(offset + int(row) * SAMPLE_BYTES)
                file.readinto(place.data)
            count += len(batch)
    return count


def from_store(store: TensorStore) -> int:
    """The same samples, each an entry of the tensor store, whole digest checked on every open."""
    count = 0
    for rows in batches():
        found = [store.get(Key("p", str(row))) for row in rows]
        count += len(np.stack([tensors["x"] for tensors in found if tensors is not None]))
    return count


def from_shards(folder: Path) -> int:
    """The same samples in the shards' order, digests checked."""
    read = (found for shard in sorted(folder.glob("*.tar")) for found in read_shard(shard))
    return sum(len(np.stack(batch)) for batch in batched(found.array for found in read if isinstance(found, Sample)))


def from_webdataset(folder: Path) -> int:
    """The same shards through the webdataset package."""
    import webdataset

    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    read = webdataset.WebDataset(urls, shardshuffle=False).decode().to_tuple("npy")
    return sum(len(np.stack(batch)) for batch in batched(array for (array,) in read))


def batched(arrays: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Lists of `BATCH` arrays."""
    batch: list[np.ndarray] = []
    for array in arrays:
        batch.append(array)
        if len(batch) == BATCH:
            yield batch
            batch = []


def load_some(path: Path, start: object, done: object) -> None:
    """What each of two processes does: open the pack, wait for the other, load batches, digests included."""
    pack = Pack(path)
    start.wait()  # type: ignore[attr-defined]
    for number in range(PARALLEL_BATCHES):
        pack.batch(batches()[number % (SAMPLES // BATCH)])
    done.wait()  # type: ignore[attr-defined]


def two_processes(path: Path) -> float:
    """Samples a second of two processes together."""
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(3), context.Barrier(3)
    crew = [context.Process(target=load_some, args=(path, start, done)) for _ in range(2)]
    for process in crew:
        process.start()
    start.wait()
    began = time.perf_counter()
    done.wait()
    seconds = time.perf_counter() - began
    for process in crew:
        process.join()
    return 2 * PARALLEL_BATCHES * BATCH / seconds


def of_a_step(path: Path) -> list[Row]:
    """How long a training step of ResNet-18 takes, and what share of it loading its batch is."""
    import torch
    from monai.networks.nets import resnet18

    torch.manual_seed(0)
    network = resnet18(spatial_dims=2, n_input_channels=1, num_classes=2, conv1_t_stride=2)  # as published
    optimiser, loss_of = torch.optim.SGD(network.parameters(), lr=0.01), torch.nn.CrossEntropyLoss()
    pack, steps, loads = Pack(path), list[float](), list[float]()
    y = torch.arange(BATCH) % 2
    for rows in batches()[:STEPS]:
        began = time.process_time()
        x = torch.from_numpy(pack.batch(rows))
        loaded = time.process_time()
        optimiser.zero_grad()
        loss_of(network(x), y).backward()
        optimiser.step()
        steps.append(time.process_time() - loaded)
        loads.append(loaded - began)
    share = float(np.median(loads[1:]) / np.median(steps[1:]))
    unit = f"CPU s, median, batch {BATCH}, {torch.get_num_threads()} threads"
    return [
        make_row("training step of ResNet-18", float(np.median(steps[1:])), unit),
        make_row("loading its batch, digests included", float(np.median(loads[1:])), "CPU s, median"),
        make_row("loading as a share of the step", share, "of 1", f"< {SHARE_OF_STEP:g}", share < SHARE_OF_STEP),
    ]


def rows_of_all(folder: Path) -> list[Row]:
    """Every row of this benchmark."""
    path, shards, told = folder / "set.pack", folder / "shards", list[str]()
    write_pack(path, samples())
    write_shards(shards, samples(), ("a", "b"), most=64 * 1024**2)
    forms: dict[str, Form] = {"sealed": Sealed(bytes(range(32))), "in clear": Plain()}
    stores = {
        name: TensorStore(folder / name, 2 * SAMPLES * SAMPLE_BYTES, told.append, each) for name, each in forms.items()
    }
    for number, sample in enumerate(samples()):
        for store in stores.values():
            store.put(Key("p", str(number)), {"x": sample.array})
    seen, offset = Pack(path), 8 + HEADER_BYTES
    from_pack(seen)
    plain = Arm("plain seek and read, unchecked", lambda: plain_reads(path, offset))
    first = Arm("pack, first pass, every digest checked", lambda: from_pack(Pack(path)))
    later = Arm("pack, later passes", lambda: from_pack(seen))
    others = [
        *(Arm(f"tensor store {name}, all checked every time", partial(from_store, store)) for name, store in stores.items()),
        Arm("shards, every digest checked", lambda: from_shards(shards)),
        Arm("shards through webdataset, unchecked", lambda: from_webdataset(shards)),
    ]
    for _ in range(TURNS):
        for arm in (plain, first, later, *others):
            arm.turn()
    together = max(two_processes(path) for _ in range(3))
    if told:
        raise RuntimeError(f"the store could not be written: {told}")
    ratio = later.rate / plain.rate
    return [
        plain.row(),
        first.row(f">= {ENOUGH:g}", first.rate >= ENOUGH),
        later.row(f">= {ENOUGH:g}", later.rate >= ENOUGH),
        make_row("pack, later passes, against plain reads", ratio, "of 1", f">= {SHARE_OF_READ:g}", ratio >= SHARE_OF_READ),
        make_row("pack, two processes together, half of it first pass", together, "samples/s, wall"),
        *(arm.row() for arm in others),
        *of_a_step(path),
    ]


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedmed-bench-") as folder:
        show("cache", rows_of_all(Path(folder)), options.json)


if __name__ == "__main__":
    main()
