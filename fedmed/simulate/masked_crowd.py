"""A crowd whose sites mask: each process plays its own sites' members of the real protocol, and hands over one masked sum.

A site belongs to one process for the whole run, which has its keys, its state of the protocol and its cases.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from secrets import token_bytes
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from fedmed.errors import FederationError, FedmedError, ProtocolRefused, StoreError, UpdateRefused
from fedmed.federation import updates
from fedmed.flower import keys
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.lanes import assign
from fedmed.flower.ours import Asked
from fedmed.learning.clinic import Clinic
from fedmed.learning.crowd import Member, Resident, Told
from fedmed.learning.inputs import prepare
from fedmed.learning.order import Order, Preparation, parse
from fedmed.learning.prediction import device_of
from fedmed.learning.scoring import put_score
from fedmed.outbound.update import change, values_of
from fedmed.privacy.secagg import layout_bytes
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.round_messages import Header
from fedmed.simulate import members
from fedmed.simulate.crowd import end_with, stopped
from fedmed.sites.prepared import open_site
from fedmed.twin.masked.players import Answers, Handed, Part, Players, given_for
from fedmed.wire.tensors import Tensors

TOGETHER = 25
"""Answers that the center reads while a process makes the next ones."""


@dataclass(frozen=True)
class Rules:
    """What a crowd's processes know beside the sites."""

    place: Path
    """The folder of sites that are laid out, whose members are enrolled."""
    fast: bool
    most_norm: float | None


class MaskedCrowd:
    """Sites that are played by `workers` processes of one thread each; a context manager."""

    def __init__(self, loads: Sequence[float], workers: int, rules: Rules) -> None:
        """Fork; `loads` are the sites' cases, which say who plays whom."""
        context = multiprocessing.get_context("fork")
        self._lines, self._made = list[Connection](), list[Any]()
        self._groups = assign(enumerate(loads), max(1, min(workers, len(loads))))
        for group in self._groups:
            line, theirs = context.Pipe()
            worker = context.Process(target=_serve, args=(theirs, os.getpid(), tuple(group), rules), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # threads of the parent hold no lock that a worker takes
                worker.start()
            theirs.close()
            self._lines.append(line)
            self._made.append(worker)

    def answer(self, requests: Mapping[int, bytes]) -> Iterator[Answers]:
        """What those sites say who are asked, by number, as it comes. Raises FederationError where a process has ended."""
        open_ = list(self._lines)
        for line, group in zip(self._lines, self._groups, strict=True):
            self._tell(line, ("answer", {number: requests[number] for number in group if number in requests}))
        try:
            while open_:
                ready = wait(open_)
                for line in [each for each in open_ if each in ready]:
                    said = self._hear(line)
                    if said is None or isinstance(said, FedmedError):
                        open_.remove(line)
                    if isinstance(said, FedmedError):
                        raise said
                    if said is not None:
                        yield said
        finally:  # the center may have heard enough
            for line in open_:
                while self._hear(line) is not None:
                    pass

    def ask(self, cohort: Sequence[int], asked: Asked) -> list[tuple[Handed, Told]]:
        """Each process's part of a masked question. Raises FederationError where a process has ended."""
        chosen = frozenset(cohort)
        for line, group in zip(self._lines, self._groups, strict=True):
            self._tell(line, ("ask", [number for number in group if number in chosen], asked))
        answers = [self._hear(line) for line in self._lines]
        for answer in answers:
            if isinstance(answer, FedmedError):
                raise answer
        return answers

    def _tell(self, line: Connection, what: tuple[Any, ...]) -> None:
        try:
            line.send(what)
        except (BrokenPipeError, ConnectionResetError):
            return  # `_hear` finds the line closed and says so

    def _hear(self, line: Connection) -> Any:
        try:
            return line.recv()
        except (EOFError, ConnectionResetError) as error:
            at = self._lines.index(line)
            raise FederationError(stopped(self._made[at], f"{len(self._groups[at])} sites")) from error

    def close(self) -> None:
        """End the processes."""
        for worker, line in zip(self._made, self._lines, strict=True):
            worker.kill()
            worker.join()
            line.close()
        self._made, self._lines = [], []

    def __enter__(self) -> MaskedCrowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(line: Connection, owner: int, group: tuple[int, ...], rules: Rules) -> None:
    torch.set_num_threads(1)
    threading.Thread(target=end_with, args=(owner,), daemon=True).start()
    work = _Work(rules, group)
    while True:
        what, *given = line.recv()
        try:
            if what == "answer":
                for some in work.answers(*given):
                    line.send(some)
                line.send(None)
            else:
                line.send(work.ask(*given))
        except FedmedError as error:
            line.send(error)


@dataclass
class _Work:
    """What a process does for its sites."""

    rules: Rules
    group: tuple[int, ...]
    players: Players = field(init=False)
    resident: Resident | None = None

    def __post_init__(self) -> None:
        place = self.rules.place / members.MEMBERS
        signers = {number: members.keys_of(place, number) for number in self.group}
        self.players = Players(signers, members.policy_of(place), lambda _: token_bytes)
        self._dither = {number: members.dither_of(place, number) for number in self.group}
        self._member = lru_cache(maxsize=None)(partial(member_of, self.rules.place))

    def answers(self, requests: Mapping[int, bytes]) -> Iterator[Answers]:
        """To requests of the protocol."""
        asked = iter(requests.items())
        while some := dict(islice(asked, TOGETHER)):
            yield self.players.answer(some)

    def ask(self, chosen: Sequence[int], asked: Asked) -> tuple[Handed, Told]:
        """Its part of a masked question."""
        header, layout, told = Header.decode(asked.header), layout_bytes.decode(asked.layout), Told()
        self.players.forget()
        self.players.prepare([header.number], header.cohort)
        part = self.players.round(given_for(header), layout)
        seed_of = bytes([header.purpose]) + header.model
        make = {"train": self._updates, "evaluate": self._scores, keys.CENSUS: self._census}[asked.kind]
        for number, name, flat, weight, fields in make(chosen, asked, layout, told):
            _add(part, number, name, (flat, weight, fields, self._dither[number](seed_of)), told)
        return part.handed(), told

    def _updates(self, chosen: Sequence[int], asked: Asked, layout: Layout, told: Told) -> Iterator[_Answer]:
        order = on_cpu(asked.order)
        numbers = {self._member(number, order.preparation).name: number for number in chosen}
        resident, start = self._resident(order, asked.model)
        given = resident.named(start)

        def judge(model: Tensors, cases: int) -> None:
            updates.check(model, given, {WEIGHT_KEY: cases}, cases, self.rules.most_norm)

        each = (self._member(number, order.preparation) for number in chosen)
        for member, model, loss in resident.each(each, order, start, told, judge):
            made = change(layout, given, resident.tensors(model))
            weight, fields = values_of(layout, {WEIGHT_KEY: len(member.cases[1]), "loss": loss})
            flat = np.concatenate([value.reshape(-1) for value in made.tensors.values()])
            yield numbers[member.name], member.name, flat, weight, fields

    def _scores(self, chosen: Sequence[int], asked: Asked, layout: Layout, told: Told) -> Iterator[_Answer]:
        order = on_cpu(asked.order)
        resident, start = self._resident(order, asked.model)
        resident.take(start)
        for number in chosen:
            member = self._member(number, order.preparation)
            assert member.validation is not None
            model = resident.model if len(member.validation[1]) else None
            fields = put_score(model, member.validation, order, device_of(order.device))
            yield number, member.name, np.empty(0, np.float32), 0, fields

    def _census(self, chosen: Sequence[int], asked: Asked, layout: Layout, told: Told) -> Iterator[_Answer]:
        for number in chosen:
            site = open_site(self.rules.place, number)
            yield number, site.name, np.empty(0, np.float32), 0, Clinic(site).census(asked.order)

    def _resident(self, order: Order, model: Tensors) -> tuple[Resident, torch.Tensor]:
        if self.resident is None:
            self.resident = Resident(order, self.rules.fast)
        flat = np.concatenate([np.ravel(each) for each in model.values()], dtype=np.float32)
        return self.resident, torch.from_numpy(flat)


_Answer = tuple[int, str, np.ndarray[Any, Any], int, Mapping[str, ArrayLike]]


def _add(part: Part, number: int, name: str, answer: tuple[Any, ...], told: Told) -> None:
    try:
        part.add(number, *answer)
    except (ProtocolRefused, StoreError, UpdateRefused) as error:
        told.refused[name] = str(error)
        told.losses.pop(name, None)


def member_of(place: Path, number: int, preparation: Preparation) -> Member:
    """A site of a folder, its cases prepared."""
    made = prepare(open_site(place, number), preparation)
    return Member(made.name, made.train, made.validation)


def on_cpu(order: str) -> Order:
    """An order for processes that were forked."""
    return parse(order).model_copy(update={"device": "cpu"})
