"""What a clinic's gates share: one keystore, one ledger, one set of approved members, one watch over the center's log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_bytes

from fedmed.clinic.folder import ClinicFolder
from fedmed.clinic.pinned import PinnedKeys
from fedmed.clinic.watching import Watcher
from fedmed.config.scenario import Scenario
from fedmed.identity.member import ROUNDING, Identity
from fedmed.outbound.description import Sizes
from fedmed.outbound.gate import Books, Gate, Rules
from fedmed.outbound.outbox import Outbox
from fedmed.outbound.private import Private
from fedmed.privacy.atrest import AtRest
from fedmed.privacy.dp.history import Limit
from fedmed.privacy.keys import create as create_key
from fedmed.privacy.keystream import SEED_BYTES
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import Mode, Policy
from fedmed.privacy.secagg.schedule import rounding_seed
from fedmed.store import ledger
from fedmed.store.budgets import Budget
from fedmed.store.departures import SUFFIX, Departures
from fedmed.store.keysource import counter_from, key_from
from fedmed.store.keystore import FileKeystore
from fedmed.store.ledgers import FOLDER as LEDGERS
from fedmed.wire.tensors import sha256

KEYSTORE, WATCH, WHAT = "keystore", "watch.json", "description"
MOST_PURPOSE = 200
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """The data set that a gate stands before."""

    name: str
    digest: str
    sizes: Sizes
    """As declared at its release."""
    unit: str
    """What the privacy budget counts: patients or cases."""


class Gatehouse:
    """Opened once by the daemon; the keystore is locked until `close`."""

    def __init__(self, folder: ClinicFolder, tell: Tell) -> None:
        """Raises KeyRefused, PinRefused, StoreError, ConfigError for what is not in order."""
        self.folder, self._tell = folder, tell
        keys, config = folder.keys(), folder.config
        me = Identity(config.name, keys.transport_public, keys.signing_public)
        self.pins = PinnedKeys(folder.path / "pins.json", me)
        self.departures = Departures(folder.path / LEDGERS / f"{config.name}{SUFFIX}")
        center = bytes.fromhex(config.center)
        self.watcher = Watcher(folder.path / WATCH, center, keys, lambda: self.pins, folder.clock, tell)
        self.keystore, self._secret = _keystore(folder)
        modes: tuple[Mode, ...] = ("malicious",) if config.encryption == "malicious" else ("malicious", "hbc")
        policy = Policy(config.federation, self.pins, config.least_members, config.least_members, modes)
        member = Member(keys, policy, token_bytes)
        self._rounding = partial(rounding_seed, keys.secret_for(ROUNDING))
        self.outbox = Outbox(member, self.keystore, lambda: self.watcher.bound(self.departures.head()))

    def gate(self, subject: Subject, run: str, scenario: Scenario) -> Gate:
        """The gate before a data set, with the rules of a run (`RUN@DIGEST`) that its staff approved."""
        rules = Rules(
            scenario.federation.max_update_norm,
            self._private(subject, scenario),
            scenario.federation.late == "add",
            scenario.privacy.value_bound,
        )
        statements = self.folder.path / LEDGERS / f"{self.folder.config.name}.jsonl"

        def described(text: str) -> None:
            key = (WHAT, subject.digest, sha256(text.encode()))
            ledger.once(statements, self.folder.clock, key, run[:MOST_PURPOSE], lambda: (text, f"the approval of {run}"))

        books = Books(self.departures, subject.digest, self.folder.clock, self._tell, subject.sizes, described)
        # the accounts of differential privacy lean on a dither of its own for each release
        dither = self._rounding if rules.private is None else _fresh
        return Gate(self.folder.certificate(), self.outbox, rules, dither, books)

    def rest(self, use: str) -> AtRest:
        """What seals the clinic's own files of one use: the keystore's key, in other words."""
        return AtRest(self._secret, use)

    def _private(self, subject: Subject, scenario: Scenario) -> Private | None:
        rules = scenario.privacy.differential_privacy
        if rules is None:
            return None
        path = self.folder.path / LEDGERS / f"{subject.name}.budget.jsonl"
        most = self.folder.config.most_epsilon
        limit = Limit(rules.epsilon if most is None else min(most, rules.epsilon), rules.delta, subject.unit)
        account = Budget(path, self.folder.clock, limit)
        return Private(rules, scenario.training, scenario.rounds, subject.unit, subject.name, account, _fresh)

    def close(self) -> None:
        """Let another process open the keystore."""
        self.keystore.close()


def _fresh(what: bytes) -> bytes:
    """A seed that nobody else can know; nothing is drawn twice, since what was sent is kept."""
    return token_bytes(SEED_BYTES)


def _keystore(folder: ClinicFolder) -> tuple[FileKeystore, bytes]:
    """It, and its key; made where neither is there and the key is to be a file."""
    place, source, is_beside = folder.path / KEYSTORE, folder.config.keystore, False
    kind, _, path = source.partition(":")
    if kind == "file":
        key = folder.path.resolve() / path  # an absolute path stays one
        if not key.exists() and not place.exists():
            create_key(key)
        source, is_beside = f"file:{key}", not Path(path).is_absolute()
    secret = key_from(source, place, allow_same_mount=is_beside)
    return FileKeystore(place, secret, folder.clock, counter_from(source, secret)), secret
