"""A wire tap on whole runs with real site processes: of what leaves a site, nothing tells of its own numbers.

The controls tap runs that do tell: the same search must find it all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedmed.config.loading import parse
from fedmed.errors import FederationError
from fedmed.flower import inprocess
from fedmed.flower.keys import MEMBER
from fedmed.simulate import engines
from fedmed.simulate.run import Request, simulate
from fedmed.wire import tensors as wire
from tests.attacks.secagg import tap as search
from tests.attacks.secagg import watched
from tests.attacks.secagg.tap import Said, Tap
from tests.attacks.secagg.tapped import SCENARIO, cases, counts, measures, of_kind, vectors
from tests.attacks.secagg.watched import Secret

NODES = {2: 0, 3: 1, 4: 2, 5: 3}  # the engine's numbers of the sites
LIMIT = 6.2  # deviations of chi-square with 255 degrees of freedom: twelve tests are beyond it once in 10^6 runs


@dataclass(frozen=True)
class Listened:
    tap: Tap
    secrets: dict[int, list[Secret]]
    """By node."""


def listen(folder: Path, gates: Any, *overrides: str, fails: bool = False) -> Listened:
    tap = Tap()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inprocess, "Lane", tap.on())
        patch.setattr(engines, "members", gates)
        if "engine.workers=0" in overrides:
            patch.setattr(engines, "InProcessGrid", tap.on_flower())
        request = Request(parse(SCENARIO, "tapped.yaml", overrides), cases(folder), folder / "run")
        if fails:
            with pytest.raises(FederationError):
                simulate(request)
        else:
            assert simulate(request)["status"] == "complete"
    masked = (folder / watched.SECRETS).exists()
    secrets = {node: watched.secrets_of(folder / "run", site) if masked else [] for node, site in NODES.items()}
    return Listened(tap, secrets)


def blind() -> Any:
    names = ("__name__", "AUTHORITY", "FEDERATION", "MEMBERS")
    return SimpleNamespace(gate_of=watched.blind_gate_of, **{name: getattr(watched, name) for name in names})


OFF = "privacy.secure_aggregation=off"
PROCESSES, FLOWER = "engine.workers=4", "engine.workers=0"  # pipes and shared memory, or Flower's own encoding


@pytest.fixture(scope="module")
def runs(simulated, tmp_path_factory) -> Callable[..., Listened]:
    """Tapped runs, each once."""
    return lru_cache(lambda *overrides: listen(tmp_path_factory.mktemp("tapped"), watched, *overrides))


@pytest.fixture(params=[PROCESSES, FLOWER], ids=["processes", "flower"])
def wire_(request) -> str:
    return request.param


@pytest.fixture
def masked(runs, wire_) -> Listened:
    return runs(wire_)


@pytest.fixture
def in_processes(runs) -> Listened:
    return runs(PROCESSES)


@pytest.fixture
def unmasked(runs, wire_) -> Listened:
    return runs(wire_, OFF)


@pytest.fixture(scope="module")
def unseeing(simulated, tmp_path_factory) -> Listened:
    return listen(tmp_path_factory.mktemp("blind"), blind(), "rounds=1", fails=True)


def vectors_sent(said: list[Said], kind: str) -> np.ndarray:
    """Bytes of all masked vectors of a kind."""
    sent = [wire.view(each.memory) for each in said if each.kind == kind]
    return np.concatenate([value.reshape(-1).view(np.uint8) for each in sent for value in each.values()])


def byte_deviation(data: np.ndarray) -> float:
    counted, expected = np.bincount(data, minlength=256), data.size / 256
    return float((((counted - expected) ** 2 / expected).sum() - 255) / math.sqrt(510))


def everywhere(
    listened: Listened, needles: Callable[[list[Secret]], np.ndarray], secrets: dict[int, list[Secret]]
) -> list[int]:
    """Hits by node, of that node's own secrets."""
    return [search.hits(needles(secrets[node]), listened.tap.of(node)) for node in NODES]


def test_the_tap_hears_everything(in_processes):
    once, each_round = ("query.describe", "query.member", "query.census"), ("train", "evaluate")
    for node in NODES:
        kinds = [each.kind for each in in_processes.tap.of(node)]
        assert [kinds.count(kind) for kind in (*once, *each_round)] == [1, 1, 1, 3, 3]
        assert kinds.count("query.protocol") == 3 + 2 * 7, "an epoch, and two messages for each of seven sums"


def test_the_secrets_are_telling(masked):
    for node in NODES:
        secrets = masked.secrets[node]
        assert len(masked.tap.of(node)) >= 26
        assert len(secrets) == 7
        assert len(vectors(secrets)) > 20_000
        assert min(counts(secrets)) > 1000
        assert len(measures(secrets)) == 12


def test_no_update_leaves(masked):
    assert everywhere(masked, vectors, masked.secrets) == [0, 0, 0, 0]


def test_no_count_leaves(masked):
    for node, secrets in masked.secrets.items():
        said, numbers = masked.tap.of(node), counts(secrets)
        assert search.texts_in(map(str, numbers), said) == []
        assert search.hits(search.counts_as_bytes(numbers), said) == 0


def test_no_measure_leaves(masked):
    for node, secrets in masked.secrets.items():
        said, numbers = masked.tap.of(node), measures(secrets)
        assert search.beginnings_in(map(repr, numbers), said) == []
        assert search.hits(search.long_needles(np.array(numbers)), said) == 0


def test_no_number_leaves_in_four_bytes(masked):
    needles = search.short_needles([n for each in masked.secrets.values() for n in (*counts(each), *measures(each))])
    said = [each for each in masked.tap.said if each.kind != MEMBER]  # certificates hold dates, in digits
    assert search.hits(needles, said) < search.more_than_chance(needles, said)


@pytest.mark.parametrize("kind", ["query.census", "train", "evaluate"])
def test_what_leaves_is_even_bytes(in_processes, kind):
    assert max(abs(byte_deviation(vectors_sent(in_processes.tap.of(node), kind))) for node in NODES) < LIMIT


def test_flower_is_given_no_record_of_metrics(runs):
    """In protobuf a count has two or three bytes, which any key may hold: there is no record that could hold it."""
    assert not any(each.memory.startswith(b"MetricRecord") for each in runs(FLOWER).tap.said)
    assert any(each.memory.startswith(b"MetricRecord") for each in runs(FLOWER, OFF).tap.said)


def test_a_run_that_is_not_masked_is_seen_through(masked, unmasked):
    """Its first round is that of the masked run, to the bit."""
    for node, secrets in masked.secrets.items():
        said, first = unmasked.tap.of(node), of_kind(secrets, "train")[0]
        assert search.hits(vectors([*(each for each in secrets if each.kind != "train"), first]), said) > 1000
        loss = first.values["loss"]
        assert search.beginnings_in([repr(loss)], said) or search.hits(search.long_needles(np.array([loss])), said)


def test_counts_of_a_run_that_is_not_masked_are_read(in_processes, runs):
    said = runs(PROCESSES, OFF).tap
    for node, secrets in in_processes.secrets.items():
        train = of_kind(secrets, "query.census")[0].tensors["classes"].tolist()
        assert len(search.texts_in(map(str, [sum(train), *train]), said.of(node))) == 3


def test_bytes_of_a_run_that_is_not_masked_are_uneven(runs):
    said = runs(PROCESSES, OFF).tap
    assert min(abs(byte_deviation(vectors_sent(said.of(node), "train"))) for node in NODES) > LIMIT


def test_a_gate_that_forgets_its_masks_is_seen_through(in_processes, unseeing):
    for node in NODES:
        said, trained = unseeing.tap.of(node), of_kind(unseeing.secrets[node], "train")
        assert search.hits(search.long_needles(*(each.lanes for each in trained)), said) > 1000
        assert abs(byte_deviation(vectors_sent(said, "train"))) > LIMIT
        assert abs(byte_deviation(vectors_sent(said, "query.census"))) < LIMIT
    needles = search.short_needles([n for each in in_processes.secrets.values() for n in counts(each)])
    assert search.hits(needles, unseeing.tap.said) >= search.more_than_chance(needles, unseeing.tap.said)
