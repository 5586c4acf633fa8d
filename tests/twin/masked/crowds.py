"""Crowds for tests: members of a roster played by some workers, with seeded keys and draws."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import questions
from fedmed.privacy.secagg.convening import Agreed
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.privacy.secagg.metrics import put_metric
from fedmed.privacy.secagg.parameters import Parameters, Policy
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.twin.masked.center import Ask, Gathered, convene
from fedmed.twin.masked.players import Answers, Players, given_for
from tests.privacy.secagg.federation import signer, terms_for

MOST, SIZE = 20, 40


def entropy(member: int) -> Callable[[int], bytes]:
    return random.Random(f"entropy/{member}").randbytes


def layout_for(members: int) -> Layout:
    return Layout((Tensor("a", (5, 6)), Tensor("b", (10,))), questions.update_fields(MOST), 32, members, 2.0, MOST)


def update(member: int) -> tuple[np.ndarray, int, dict[str, float], bytes]:
    """Change, weight, fields and the seed of rounding."""
    draw, weight = np.random.default_rng(member), 1 + member % MOST
    fields = {questions.WEIGHT: weight, **put_metric(questions.LOSS, member / 7, weight)}
    return draw.uniform(-2, 2, SIZE).astype(np.float32), weight, fields, bytes([member % 256]) * 24


def lanes_of(layout: Layout, member: int) -> Lanes:
    """A member's vector without masks."""
    flat, weight, fields, dither = update(member)
    return layout.write({"a": flat[:30].reshape(5, 6), "b": flat[30:]}, weight, fields, dither)


@dataclass
class Crowd:
    terms: Parameters
    workers: list[Players]
    agreed: Agreed = field(init=False)

    def __post_init__(self) -> None:
        keys = dict(enumerate(map(self._pins.__getitem__, self.terms.roster), 1))
        self.agreed = convene(self.terms, keys, self.ask())

    @property
    def _pins(self) -> dict[bytes, bytes]:
        return {each.fingerprint: each.public for each in map(signer, range(self.terms.members))}

    def ask(self, away: frozenset[int] = frozenset()) -> Ask:
        def asked(requests: Mapping[int, bytes]) -> list[Answers]:
            there = {each: said for each, said in requests.items() if each not in away}
            return [worker.answer({each: there[each] for each in there if each in worker}) for worker in self.workers]

        return asked

    def header(self, number: int, cohort: tuple[int, ...] | None = None) -> Header:
        layout, cohort = layout_for(self.terms.members), cohort or tuple(range(1, self.terms.members + 1))
        return Header(number, Purpose.UPDATE, cohort, sha256(b"model"), layout.digest(), layout.size, 32)

    def gathered(self, header: Header, away: frozenset[int] = frozenset()) -> Gathered:
        """The round with the uploads of all of its cohort but those who are away."""
        layout = layout_for(self.terms.members)
        gathered = Gathered(self.agreed, header, layout)
        for worker in self.workers:
            part = worker.round(given_for(header), layout)
            for member in header.cohort:
                if member in worker and member not in away:
                    part.add(member, *update(member))
            gathered.take(part.handed())
        return gathered


def crowd(members: int, workers: int = 2, **terms: int) -> Crowd:
    agreed = terms_for(members, **terms)
    known = {each.fingerprint: each for each in map(signer, range(members))}
    policy = Policy("fed", {fingerprint: each.public for fingerprint, each in known.items()})
    signers = {index: known[fingerprint] for index, fingerprint in enumerate(agreed.roster, 1)}
    return Crowd(
        agreed,
        [
            Players({index: each for index, each in signers.items() if index % workers == number}, policy, entropy)
            for number in range(workers)
        ],
    )


def plain_sum(members: int, survivors: set[int]) -> Lanes:
    layout = layout_for(members)
    total = layout.zeros()
    for member in survivors:
        total += lanes_of(layout, member)
    return total
