"""What real masks cost when one machine plays all clients: 100 a round on the complete graph, 1,000 of 10,000 on the ring.

Learning is logistic regression, 48,670 parameters, about 10 samples a client, one step in closed form. Two workers of one
thread each play the clients, a third process is the center. Every opened sum is compared, lane by lane, with the sum of the
same lanes without masks.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection, wait
from statistics import median
from typing import Any

import numpy as np

from benchmarks.form import Row, make_row, show
from fedmed.clock import generator
from fedmed.identity.member import MemberKeys
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import questions
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.privacy.secagg.metrics import put_metric
from fedmed.privacy.secagg.parameters import Parameters, Policy, least_colluders
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.schedule import rounding_seed
from fedmed.twin.masked.center import Gathered, convene
from fedmed.twin.masked.players import Answers, Players, given_for

FEATURES, CLASSES, SAMPLES, WORKERS, TOGETHER = 784, 62, 10, 2, 25
PARAMETERS = FEATURES * CLASSES + CLASSES
MOST = 20  # samples of a client
NAME = "bench"


def layout_for(members: int) -> Layout:
    """The vector of an update of this model."""
    tensors = (Tensor("weight", (FEATURES, CLASSES)), Tensor("bias", (CLASSES,)))
    return Layout(tensors, questions.update_fields(MOST), 32, members, 4.0, MOST)


def learned(client: int, model: np.ndarray) -> tuple[np.ndarray, int, float]:
    """The change of one step over all samples of a client, how many they are, and their mean loss."""
    drawn = generator(7, "client", client)
    count = int(drawn.integers(SAMPLES - 4, SAMPLES + 5))
    x, y = drawn.random((count, FEATURES), np.float32), drawn.integers(0, CLASSES, count)
    scores = x @ model[:-CLASSES].reshape(FEATURES, CLASSES) + model[-CLASSES:]
    scores -= scores.max(axis=1, keepdims=True)
    chances = np.exp(scores)
    chances /= chances.sum(axis=1, keepdims=True)
    loss = float(-np.log(chances[np.arange(count), y] + 1e-12).mean())
    chances[np.arange(count), y] -= 1
    change = np.empty(PARAMETERS, np.float32)
    np.matmul(x.T, chances, out=change[:-CLASSES].reshape(FEATURES, CLASSES))
    change[-CLASSES:] = chances.sum(axis=0)
    change *= np.float32(-0.1 / count)
    return change, count, loss


class Worker:
    """What runs in a worker's process: its clients of an epoch, and its part of each round."""

    def __init__(self, keys: Sequence[MemberKeys]) -> None:
        self._keys, self._policy = keys, Policy(NAME, {each.fingerprint: each.signing_public for each in keys})
        self._players = Players({}, self._policy, lambda _: os.urandom)

    def begin(self, clients: Mapping[int, int]) -> None:
        """Play these clients, of a new epoch, as the members."""
        signers = {member: self._keys[client] for member, client in clients.items()}
        self._players = Players(signers, self._policy, lambda _: os.urandom)
        gc.collect()
        gc.freeze()

    def ask(self, requests: Mapping[int, bytes]) -> Iterator[Answers]:
        """Answers of its members, some at a time: the center reads them meanwhile."""
        asked = iter(requests.items())
        while some := dict(islice(asked, TOGETHER)):
            yield self._players.answer(some)

    def prepare(self, numbers: Iterable[int], cohort: Iterable[int]) -> None:
        """Agree on the keys of rounds."""
        self._players.prepare(numbers, cohort)

    def plain(self, clients: Mapping[int, int], layout: Layout, model: np.ndarray) -> np.ndarray:
        """The sum of the clients' float32 changes."""
        total = np.zeros(PARAMETERS, np.float32)
        for client in clients.values():
            change, count, _ = learned(client, model)
            total += change * np.float32(count / MOST)
        return total

    def lanes(self, clients: Mapping[int, int], layout: Layout, model: np.ndarray) -> np.ndarray:
        """The sum of the clients' lanes without masks: what the opened sum has to be."""
        total, digest = layout.zeros(), layout.digest()
        for client in clients.values():
            change, count, loss = learned(client, model)
            tensors = {"weight": change[:-CLASSES].reshape(FEATURES, CLASSES), "bias": change[-CLASSES:]}
            total += layout.write(tensors, count, fields_of(count, loss), dither_of(client, digest), is_warm=True)
        return total

    def masked(self, clients: Mapping[int, int], layout: Layout, model: np.ndarray, header: Header) -> Any:
        """Its part of a masked round."""
        part, digest = self._players.round(given_for(header), layout), layout.digest()
        for member, client in clients.items():
            change, count, loss = learned(client, model)
            part.add(member, change, count, fields_of(count, loss), dither_of(client, digest))
        return part.handed()

    def forget(self) -> int:
        """Drop what was prepared; the most memory that was held, in KiB."""
        self._players.forget()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fields_of(count: int, loss: float) -> dict[str, Any]:
    """What goes beside the tensors."""
    return {questions.WEIGHT: count, **put_metric(questions.LOSS, loss, count)}


def dither_of(client: int, layout: bytes) -> bytes:
    """The seed of a vector's rounding, of a layout with this digest."""
    return rounding_seed(client.to_bytes(32, "big"), layout)


def serve(pipe: Connection, keys: Sequence[MemberKeys]) -> None:
    """A worker's loop."""
    worker = Worker(keys)
    while (asked := pipe.recv()) is not None:
        name, given = asked
        if name == "ask":
            for answers in worker.ask(*given):
                pipe.send(answers)
        pipe.send(None if name == "ask" else getattr(worker, name)(*given))


class Workers:
    """The workers, and which member each plays."""

    def __init__(self, keys: Sequence[MemberKeys]) -> None:
        context = multiprocessing.get_context("fork")
        self._pipes, self._made = [], []
        for _ in range(WORKERS):
            here, there = context.Pipe()
            made = context.Process(target=serve, args=(there, keys), daemon=True)
            made.start()
            self._pipes.append(here)
            self._made.append(made)

    def all(self, name: str, *given: Callable[[int], Any]) -> list[Any]:
        """What all workers say; each argument is made for the worker's number."""
        for number, pipe in enumerate(self._pipes):
            pipe.send((name, tuple(each(number) for each in given)))
        return [pipe.recv() for pipe in self._pipes]

    def ask(self, requests: Mapping[int, bytes]) -> Iterator[Answers]:
        """The center's way to members."""
        for number, pipe in enumerate(self._pipes):
            pipe.send(("ask", ({each: said for each, said in requests.items() if each % WORKERS == number},)))
        open_ = list(self._pipes)
        try:
            while open_:
                ready = wait(open_)
                for pipe in [each for each in open_ if each in ready]:
                    if (answers := pipe.recv()) is None:
                        open_.remove(pipe)
                    else:
                        yield answers
        finally:  # the center may have heard enough
            for pipe in open_:
                while pipe.recv() is not None:
                    pass

    def end(self) -> None:
        """End the workers."""
        for pipe in self._pipes:
            pipe.send(None)
        for made in self._made:
            made.join()


@dataclass
class Took:
    """Seconds of a run by part, summed over its rounds."""

    setup: float = 0.0
    prepare: float = 0.0
    upload: float = 0.0
    open: float = 0.0
    exact: int = 0
    worker_mib: float = 0.0


def own(clients: Mapping[int, int]) -> Callable[[int], dict[int, int]]:
    """The part of the clients that a worker plays."""
    return lambda number: {member: client for member, client in clients.items() if member % WORKERS == number}


def same(value: Any) -> Callable[[int], Any]:
    """The same for every worker."""
    return lambda number: value


def timed(took: Took, name: str, work: Callable[[], Any]) -> Any:
    """What `work` returns; its seconds are added."""
    began = time.perf_counter()
    found = work()
    setattr(took, name, getattr(took, name) + time.perf_counter() - began)
    return found


class Federation:
    """A population of clients and its workers."""

    def __init__(self, population: int) -> None:
        self.keys = [MemberKeys.generate(sha256(b"client", number.to_bytes(4, "big"))) for number in range(population)]
        self.workers = Workers(self.keys)
        self.model = np.zeros(PARAMETERS, np.float32)

    def epoch(self, number: int, size: int, rounds: int, took: Took) -> tuple[Any, dict[int, int]]:
        """An epoch of `size` clients drawn from the population, and member -> client."""
        drawn = generator(3, "roster", number).choice(len(self.keys), size, replace=False)
        chosen = sorted((self.keys[client].fingerprint, int(client)) for client in drawn)
        clients = {member: client for member, (_, client) in enumerate(chosen, 1)}
        roster = tuple(each for each, _ in chosen)
        terms = Parameters(NAME, NAME, number, roster, least_colluders(size), size // 10, rounds)
        public = {member: self.keys[client].signing_public for member, client in clients.items()}
        self.workers.all("begin", own(clients))
        return timed(took, "setup", lambda: convene(terms, public, self.workers.ask)), clients

    def masked(self, agreed: Any, clients: dict[int, int], number: int, took: Took, check: bool) -> None:
        """A round; the model moves by the mean."""
        layout, workers = layout_for(agreed.terms.members), self.workers
        header = Header(
            number, Purpose.UPDATE, tuple(clients), sha256(self.model.tobytes()), layout.digest(), layout.size, 32
        )
        gathered = Gathered(agreed, header, layout)
        given = own(clients), same(layout), same(self.model)
        for part in timed(took, "upload", lambda: workers.all("masked", *given, same(header))):
            timed(took, "open", partial(gathered.take, part))
        total = timed(took, "open", lambda: gathered.open(workers.ask))
        if check:
            expected = sum(workers.all("lanes", *given))
            assert np.array_equal(total.lanes, expected), "the opened sum is not the sum of the lanes"
            took.exact += 1
        mean = total.mean(total.count(questions.WEIGHT))
        self.model = self.model + np.concatenate([each.reshape(-1) for each in mean.values()])
        took.worker_mib = max(workers.all("forget")) / 1024 if number == 0 else took.worker_mib

    def plain(self, clients: dict[int, int]) -> float:
        """Seconds of a round without encryption."""
        began = time.perf_counter()
        total = sum(self.workers.all("plain", own(clients), same(layout_for(len(clients))), same(self.model)))
        assert np.isfinite(total).all()
        return time.perf_counter() - began


def hundred(rounds: int = 12) -> list[Row]:
    """100 clients a round, everybody joined with everybody; keys are agreed on once for the epoch."""
    federation, took = Federation(100), Took()
    agreed, clients = federation.epoch(1, 100, rounds + 1, took)
    timed(took, "prepare", lambda: federation.workers.all("prepare", same(range(1, rounds + 2)), same(tuple(clients))))
    federation.masked(agreed, clients, 1, Took(), True)  # machine code is loaded
    federation.plain(clients)
    added, plains, parts = [], [], Took()
    for number in range(2, rounds + 2):
        plains.append(federation.plain(clients))
        one = Took()
        federation.masked(agreed, clients, number, one, True)
        added.append(1e3 * (one.upload + one.open - plains[-1]))
        parts = replace(parts, upload=parts.upload + one.upload, open=parts.open + one.open, exact=parts.exact + one.exact)
    federation.workers.end()
    assert parts.exact == rounds
    return [
        make_row("100 clients, complete graph: plain round", 1e3 * median(plains), "ms"),
        make_row("  added by encryption, median", median(added), "ms a round", "<= 200", median(added) <= 200),
        make_row("  added by encryption, least", min(added), "ms a round"),
        make_row("  upload with masks", 1e3 * parts.upload / rounds, "ms a round"),
        make_row("  confirm, reveal, open", 1e3 * parts.open / rounds, "ms a round"),
        make_row("  set-up of an epoch", took.setup, f"s for {rounds + 1} rounds"),
        make_row("  keys agreed on ahead", 1e3 * took.prepare / (rounds + 1), "ms a round"),
        make_row("  sums exact", parts.exact, f"of {rounds}", "all", True),
    ]


def thousand(rounds: int = 50, per_epoch: int = 25, check_each: int = 10) -> list[Row]:
    """1,000 of 10,000 clients a round on the ring; a roster is drawn for each epoch."""
    federation, took = Federation(10_000), Took()
    began, checked = time.perf_counter(), 0.0
    for number in range(rounds):
        epoch, place = divmod(number, per_epoch)
        if not place:
            agreed, clients = federation.epoch(epoch + 1, 1000, per_epoch, took)
        timed(took, "prepare", partial(federation.workers.all, "prepare", same([place + 1]), same(tuple(clients))))
        before = time.perf_counter()
        one = Took()
        federation.masked(agreed, clients, place + 1, one, number % check_each == 0)
        if one.exact:
            checked += time.perf_counter() - before - one.upload - one.open
        took = replace(took, upload=took.upload + one.upload, open=took.open + one.open, exact=took.exact + one.exact)
        kib = federation.workers.all("forget")
    masked_s = time.perf_counter() - began - checked
    plain_s = sum(federation.plain(clients) for _ in range(rounds))
    federation.workers.end()
    return [
        make_row(f"10,000 clients, 1,000 a round, {rounds} rounds: masked", masked_s, "s", "< 150", masked_s < 150),
        make_row("  the same, plain", plain_s, "s"),
        make_row("  set-up of epochs", took.setup, f"s, {-(-rounds // per_epoch)} of {per_epoch} rounds"),
        make_row("  keys agreed on", took.prepare, "s"),
        make_row("  upload with masks and learning", took.upload, "s"),
        make_row("  confirm, reveal, open", took.open, "s"),
        make_row("  most memory of a worker", max(kib) / 1024, "MiB"),
        make_row("  sums compared, all exact", took.exact, f"of {rounds}", "all", True),
    ]


def rows() -> list[Row]:
    """Both runs."""
    return hundred() + thousand()


if __name__ == "__main__":
    words = [each for each in sys.argv[1:] if not each.startswith("--")]
    made: dict[str, Callable[[], list[Row]]] = {"100": hundred, "1000": thousand, "1000-short": partial(thousand, 4, 2, 1)}
    show("twin-masks", [row for word in words or ["100", "1000"] for row in made[word]()], "--json" in sys.argv)
