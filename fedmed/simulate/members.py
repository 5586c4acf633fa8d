"""The members of a simulated federation: keys and certificates for one run, and the gate that each site's app is behind."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from secrets import token_bytes
from typing import Any

from fedmed.clock import Clock, SystemClock
from fedmed.config.privacy import DifferentialPrivacy
from fedmed.config.scenario import Scenario, Training
from fedmed.identity.authority import DevelopmentAuthority
from fedmed.identity.files import write_new
from fedmed.identity.member import MemberKeys, member_name
from fedmed.identity.requests import certificate_request, read_request
from fedmed.learning.fingerprint import version_of
from fedmed.outbound.description import Sizes
from fedmed.outbound.gate import Books, Gate, Rules
from fedmed.outbound.outbox import Outbox
from fedmed.outbound.private import Private
from fedmed.privacy.dp.history import Limit
from fedmed.privacy.dp.mechanisms import CLINIC
from fedmed.privacy.dp.terms import Cohort, terms
from fedmed.privacy.keystream import SEED_BYTES
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import LEAST_SUM, Mode, Policy
from fedmed.privacy.secagg.schedule import rounding_seed
from fedmed.simulate.devices import cases_below
from fedmed.simulate.logs import log_of
from fedmed.sites.cases import Site, unit_of
from fedmed.sites.prepared import open_site
from fedmed.store.budgets import Budget
from fedmed.store.departures import SUFFIX, Departures
from fedmed.store.ledgers import FOLDER
from fedmed.store.unsealed import UnsealedKeystore

MEMBERS, AUTHORITY, HOUSE, PINS = "members", "authority.der", "house.json", "pins.json"
ROUNDING = ".rounding"
"""Ends the name of a site's secret that its seeds of rounding are derived from (32 bytes)."""
FEDERATION = "simulation"
DAYS = 30


@dataclass(frozen=True)
class House:
    """What every simulated clinic's staff has written into its own file."""

    seed: int
    mode: Mode
    most_norm: float | None
    carries_late: bool
    least_bound: float
    private: dict[str, Any] | None
    """Section `differential_privacy`; the limit of the data set's budget, too."""
    training: dict[str, Any]
    rounds: int


def enrol(sites_folder: Path, names: Sequence[str], scenario: Scenario, clock: Clock | None = None) -> None:
    """Make keys, certificates and pins for the sites laid out in a folder; every site has approved every other."""
    folder = sites_folder / MEMBERS
    folder.mkdir()
    authority = DevelopmentAuthority.generate(clock or SystemClock())
    (folder / AUTHORITY).write_bytes(authority.public)
    pins = {}
    for number, name in enumerate(names):
        # in virtual time from the run's seed, for an order of members follows from keys, and a trace from that order
        entropy = hashlib.sha256(b"keys/%d/%d" % (scenario.seed, number)).digest()
        keys = MemberKeys.generate(entropy if scenario.topology is not None else None)
        keys.save(folder / f"{number:05d}.keys")
        # from the run's seed, so that a run repeats to the bit; a clinic's is of its keys
        secret = hashlib.sha256(b"rounding/%d/%d" % (scenario.seed, number)).digest()
        write_new(folder / f"{number:05d}{ROUNDING}", secret)
        certificate = authority.issue(read_request(certificate_request(keys, member_name(name))), DAYS)
        (folder / f"{number:05d}.der").write_bytes(certificate)
        pins[keys.fingerprint.hex()] = keys.signing_public.hex()
    (folder / PINS).write_text(json.dumps(pins), encoding="ascii")
    mode: Mode = "hbc" if scenario.privacy.secure_aggregation == "hbc" else "malicious"
    private = scenario.privacy.differential_privacy
    house = House(
        scenario.seed,
        mode,
        scenario.federation.max_update_norm,
        scenario.federation.late == "add",
        scenario.privacy.value_bound,
        None if private is None else private.model_dump(mode="json"),
        scenario.training.model_dump(mode="json"),
        scenario.rounds,
    )
    (folder / HOUSE).write_text(json.dumps(asdict(house)), encoding="ascii")


def gate_of(config: Mapping[str, Any]) -> Gate:
    """The gate of the node with this configuration; Flower's own runtime tells a node its number and nothing else."""
    place = Path(str(config.get("sites-folder") or os.environ["FEDMED_SITES"])) / MEMBERS
    return _gate(place, int(config["partition-id"]), (place / AUTHORITY).read_bytes())


def keys_of(place: Path, number: int) -> MemberKeys:
    """The keys of a member that was enrolled."""
    return MemberKeys.load(place / f"{number:05d}.keys")


def certificate_of(sites_folder: Path, number: int) -> bytes:
    """The certificate of a member that was enrolled, DER."""
    return (sites_folder / MEMBERS / f"{number:05d}.der").read_bytes()


def policy_of(place: Path) -> Policy:
    """What every simulated clinic accepts of a federation."""
    house = House(**json.loads((place / HOUSE).read_text()))
    return Policy(FEDERATION, _pins(place, (place / AUTHORITY).read_bytes()), modes=(house.mode,))


def dither_of(place: Path, number: int) -> Callable[[bytes], bytes]:
    """Gives the seed of a vector's rounding, for its purpose and what was given."""
    return partial(rounding_seed, (place / f"{number:05d}{ROUNDING}").read_bytes())


@lru_cache(maxsize=4096)
def _gate(place: Path, number: int, authority: bytes) -> Gate:
    """The gate of one enrolment, which has an authority of its own."""
    keys, policy, house = keys_of(place, number), policy_of(place), House(**json.loads((place / HOUSE).read_text()))
    ledgers = place.parents[1] / FOLDER
    departures = Departures(ledgers / f"{number:05d}{SUFFIX}")

    def noise(what: bytes) -> bytes:
        # seeded, so that a run repeats to the bit; a clinic draws its own
        return hashlib.sha256(b"noise/%d/%d/" % (house.seed, number) + what).digest()[:SEED_BYTES]

    outbox = Outbox(Member(keys, policy, token_bytes), UnsealedKeystore(place / f"{number:05d}.state"), departures.head, 1)
    site = open_site(place.parent, number)
    sizes = Sizes.of(len(site.train) + cases_below(place.parent, number), len(site.validation))
    books = Books(departures, version_of(site), SystemClock(), log_of(ledgers, number).tell, sizes)
    private = _private(house, site, ledgers / f"{number:05d}.budget.jsonl", noise)
    certificate = (place / f"{number:05d}.der").read_bytes()
    rules = Rules(house.most_norm, private, house.carries_late, house.least_bound)
    return Gate(certificate, outbox, rules, dither_of(place, number), books)


def _private(house: House, site: Site, budget: Path, seed: Callable[[bytes], bytes]) -> Private | None:
    if house.private is None:
        return None
    rules = DifferentialPrivacy.model_validate_json(json.dumps(house.private))
    training = Training.model_validate_json(json.dumps(house.training))
    unit, most = unit_of(site.train), rules.epsilon
    if rules.mode == CLINIC:  # its epsilon is a whole clinic's; a patient's, of which the budget tells, follows from it
        most = terms(rules, training, house.rounds, 1, Cohort(LEAST_SUM, 1)).cost()
    account = Budget(budget, SystemClock(), Limit(most, rules.delta, unit))
    return Private(rules, training, house.rounds, unit, site.name, account, seed)


@lru_cache(maxsize=4)
def _pins(place: Path, authority: bytes) -> dict[bytes, bytes]:
    told = json.loads((place / PINS).read_text(encoding="ascii"))
    return {bytes.fromhex(fingerprint): bytes.fromhex(key) for fingerprint, key in told.items()}
