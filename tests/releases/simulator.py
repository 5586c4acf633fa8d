"""A federation, a clinic and its devices in memory, so that an attack is a few lines (as python-tuf's simulator)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.errors import FederationError
from fedmed.identity.releases import ReleaseKey
from fedmed.releases import edition as editions
from fedmed.releases.channel import Channel, Release, State, allowed, candidate, promoted, proposed, rolled_back
from fedmed.releases.device import Device, Hands
from fedmed.releases.edition import Terms
from fedmed.releases.fetching import BLOBS, METADATA, manifest_name
from fedmed.releases.manifest import File, Manifest
from fedmed.releases.signing import Keys
from fedmed.releases.slots import Evidence, Limits, Tell
from fedmed.releases.slotstore import SlotStore
from fedmed.store.disk import Disk
from fedmed.wire.tensors import sha256
from tests.identity.parties import Standing

DAY, HEARTBEAT = 86_400.0, 30.0
LIMITS = Limits(window_s=60.0, least_results=10)
GOOD, WRONG, SLOW, CRASHING, FAILING, DISAGREEING, KILLS_TEST = (
    b"good", b"wrong", b"slow", b"crashing", b"failing", b"disagreeing", b"kills its test",
)  # fmt: skip
"""What a package's model says of itself, and does."""


class Killed(BaseException):
    """The process of a device ends here."""


class Authority:
    """One that signs, and serves what it signed; `approvers` of them make it a clinic."""

    def __init__(self, clock: Standing, approvers: int = 0, thresholds: tuple[int, int] = (1, 1)) -> None:
        self.clock, self.terms = clock, Terms()
        self.approvers = [ReleaseKey.generate() for _ in range(approvers)]
        self.keys = Keys(*((ReleaseKey.generate(),) for _ in range(3)))
        known = [key.public for key in self.approvers]
        self.edition = editions.first(self.keys, thresholds, known, self.terms, clock.unix())
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.before: list[dict[str, bytes]] = []
        self.serve()
        self.root = self.files[f"{METADATA}/1.root.json"]

    def serve(self) -> None:
        self.before.append(dict(self.files))
        self.files |= {f"{METADATA}/{name}": data for name, data in self.edition.files().items()}

    def state(self, step: Callable[[Channel], Channel], signers=None) -> None:
        channel = step(self.edition.channel)
        signers = signers if signers is not None else self.approvers or self.keys.targets
        self.edition = editions.stated(self.edition, channel, signers, self.keys, self.terms, self.clock.unix())
        self.serve()

    def freshen(self) -> None:
        self.edition = editions.freshened(self.edition, self.keys, self.terms, self.clock.unix())
        self.serve()

    def pieces(self, name: str, offset: int) -> Iterator[bytes] | None:
        self.asked.append(name)
        data = self.files.get(name)
        return None if data is None else iter([data[offset:]])

    def propose(self, **files: bytes) -> Release:
        listed = {name: File(len(data), sha256(data)) for name, data in files.items()}
        manifest = Manifest(self.edition.channel.next_counter, "thorax", "1.0", listed)
        new = candidate(manifest, self.clock.unix())
        self.files |= {f"{BLOBS}/{sha256(data)}": data for data in files.values()}
        self.files[manifest_name(new)] = manifest.encoded()
        self.state(lambda channel: proposed(channel, new))
        return new

    def promote(self, release: Release, times: int = 1) -> None:
        for _ in range(times):
            self.state(lambda channel: promoted(channel, release.counter, self.clock.unix()))

    def roll_back(self, release: Release) -> None:
        self.state(lambda channel: rolled_back(channel, release.counter, "seen to be wrong", self.clock.unix()))

    def allow(self, release: Release, state: State = State.ACTIVE) -> None:
        self.state(lambda channel: allowed(channel, release, state, "", self.clock.unix()))


@dataclass
class Box:
    """A device; made again, it is its next process."""

    world: World
    folder: Path
    disk: Disk | None = None
    running: bytes | None = None
    beside: bytes | None = None
    told: list[Tell] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    examined: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        store = SlotStore(self.folder / "slots", self.folder / "anchor" / "anchor.json", self.disk)
        hands = Hands(self._examine, self._run, self._beside, self.told.append)
        fetchers = {"federation": self.world.federation, "clinic": self.world.clinic}
        self.device = Device(store, fetchers, self.world.clock, hands, LIMITS)
        self.device.boot()
        for name, authority in fetchers.items():
            self.device.pin(name, authority.root, sha256(authority.root))

    def live(self, beats: int = 1) -> Box:
        """Heartbeats, with images in between; a process that is killed begins anew at once."""
        for _ in range(beats):
            try:
                self._beat()
            except Killed:
                self.start()
            self.world.clock.sleep(HEARTBEAT)
        return self

    def _beat(self) -> None:
        try:
            self.device.beat()
        except FederationError as error:
            self.refused.append(str(error))
        for slot in (self.device.slots.running, self.device.slots.shadow):
            if slot is not None:
                self.device.observe(slot, self._seen(slot))

    def _seen(self, slot: int) -> Evidence:
        model = self.model(slot)
        if model == CRASHING:
            raise Killed
        bad = [10 * (model == kind) for kind in (FAILING, SLOW, DISAGREEING)]
        return Evidence(HEARTBEAT, 10, bad[0], bad[1], 10, bad[2])

    def model(self, slot: int) -> bytes:
        return (self.device.store.package(slot) / "model").read_bytes()

    def _examine(self, package: Path) -> str:
        self.examined += 1
        model = (package / "model").read_bytes()
        if model == KILLS_TEST:
            raise Killed
        return "" if model != WRONG else "outputs differ by 3 from the expected ones; allowed is 0.01"

    def _run(self, package: Path | None) -> None:
        self.running = None if package is None else (package / "model").read_bytes()

    def _beside(self, package: Path | None) -> None:
        self.beside = None if package is None else (package / "model").read_bytes()

    @property
    def active(self) -> bytes | None:
        """The committed one."""
        slot = self.device.slots.active
        return None if slot is None else self.model(slot)


class World:
    """All of it, with a first good release that every device has committed."""

    def __init__(self, folder: Path, boxes: int = 1, approvers: int = 1, thresholds: tuple[int, int] = (1, 1)) -> None:
        self.clock = Standing()
        self.federation = Authority(self.clock)
        self.clinic = Authority(self.clock, approvers, thresholds)
        self.first = self.release(model=b"first", golden=b"in and out")
        self.boxes = [Box(self, folder / f"box-{number}").live(3) for number in range(boxes)]
        assert all(box.active == b"first" for box in self.boxes)

    @property
    def box(self) -> Box:
        return self.boxes[0]

    def release(self, state: State = State.ACTIVE, countersigned: bool = True, **files: bytes) -> Release:
        """One that has come as far as `state` at the center and, countersigned, at the clinic."""
        new = self.federation.propose(**files)
        self.federation.promote(new, state.rank - State.CANDIDATE.rank)
        if countersigned:
            self.clinic.allow(new, state)
        return new


def stays(world: World, why: str, beats: int = 8) -> None:
    """No device ever makes another release active than the first one, and says why."""
    for _ in range(beats):
        for box in world.boxes:
            box.live()
            assert box.active == b"first"
    for box in world.boxes:
        assert box.running == b"first"
        assert any(why in text for text in [*box.refused, *(told.text for told in box.told)]), (box.refused, box.told)
