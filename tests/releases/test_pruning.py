"""What is removed, and above all what never is."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError, StoreError, Unreachable
from fedmed.identity.releases import ReleaseKey
from fedmed.releases import pruning
from fedmed.releases.agreeing import agreed
from fedmed.releases.channel import Channel, State, allowed, promoted, proposed, rolled_back
from fedmed.releases.edition import Terms
from fedmed.releases.fetching import COUNTERSIGNED, TARGETS, FolderFetcher, manifest_name
from fedmed.releases.manifest import read_manifest, sha256_of
from fedmed.releases.mirror import Mirror
from fedmed.releases.pruning import YOUNG_S, agreed_of, needed_of
from fedmed.releases.repository import Repository
from fedmed.releases.trusting import View, pinned, refresh
from tests.identity.parties import Standing
from tests.releases.simulator import DAY
from tests.releases.test_channel import new

ROOT, CLINIC, APPROVER = (ReleaseKey.generate() for _ in range(3))
STATES = st.sampled_from([State.SHADOW, State.ACTIVE, State.ROLLED_BACK])
STEPS = st.one_of(
    st.just(("ship", 0)),
    st.just(("propose", 0)),
    st.tuples(st.sampled_from(["promote", "roll back", "roll back"]), st.integers(1, 6)),
    st.tuples(st.just("allow"), st.tuples(st.integers(1, 6), STATES)),
    st.tuples(st.just("wait"), st.sampled_from([1, 4, 8, 40])),
)


def parts(step: tuple, counter: int) -> list[tuple]:
    """To ship is to propose, to promote twice, and to countersign."""
    if step[0] != "ship":
        return [step]
    return [("propose", 0), ("promote", counter), ("promote", counter), ("allow", (counter, State.ACTIVE))]


def stepped(channels: tuple[Channel, Channel], step: tuple) -> tuple[Channel, Channel]:
    """The same steps on channels alone."""
    for each in parts(step, channels[0].next_counter):
        try:
            channels = _stepped(*channels, each)
        except ConfigError:
            return channels
    return channels


def _stepped(federation: Channel, clinic: Channel, step: tuple) -> tuple[Channel, Channel]:
    match step:
        case ("propose", _):
            return proposed(federation, new(federation.next_counter)), clinic
        case ("promote", counter):
            return promoted(federation, counter, 2.0), clinic
        case ("roll back", counter):
            return rolled_back(federation, counter, "wrong", 3.0), clinic
        case ("allow", (counter, state)):
            return federation, allowed(clinic, federation.find(counter), state, "", 4.0)
    return federation, clinic


def both(channels: tuple[Channel, Channel]):
    return agreed(*(View(channel, 1, 1, 0.0) for channel in channels))


@given(st.lists(STEPS, max_size=40))
def test_what_devices_run_next_or_return_to_is_needed(steps):
    channels = Channel(), Channel()
    for step in steps:
        channels = stepped(channels, step)
        needed, found = agreed_of(*channels), both(channels)
        for one in (found.active, found.shadow):
            assert one is None or one.manifest in needed
        if found.active is not None:  # and should it be rolled back now
            after = both(stepped(channels, ("roll back", found.active.counter)))
            assert after.active is None or after.active.manifest in needed
        assert all(one.manifest in needed_of(channels[0]) for one in channels[0].releases if one.state is State.CANDIDATE)


@dataclass
class Tier:
    """A center, and a clinic's copy of it."""

    place: Path
    clock: Standing = field(default_factory=Standing)
    told: list = field(default_factory=list)
    past: list = field(default_factory=list)
    """Until when a device may be shown each pair of channels, and the pair."""

    def __post_init__(self) -> None:
        terms = Terms(fresh=7)
        self.center = Repository(self.place / "center", self.clock, terms)
        self.own = Repository(self.place / "own", self.clock, terms)
        self.center.begin([ROOT])
        self.own.begin([CLINIC], (1, 1), [APPROVER.public])
        self.mirror, self.source = Mirror(self.place / "mirror", self.clock), FolderFetcher(self.center.folder)
        self.mirror.pin(self.source, self.center.fingerprint())

    def propose(self, content: bytes) -> None:
        package = self.place / "package"
        package.mkdir(exist_ok=True)
        (package / "model").write_bytes(content)
        (package / "card").write_bytes(b"the same in all")
        self.center.propose(package, "thorax", "1.0")

    def take(self, step: tuple) -> None:
        for each in parts(step, self.center.edition().channel.next_counter):
            self._take(each)

    def _take(self, step: tuple) -> None:
        match step:
            case ("propose", _):
                self.propose(os.urandom(8))
            case ("promote", counter):
                self.center.promote(counter)
            case ("roll back", counter):
                self.center.roll_back(counter, "wrong")
            case ("allow", (counter, state)):
                release = self.mirror.update(self.source).channel.find(counter)
                if State.ROLLED_BACK not in (state, release.state):
                    self.mirror.copy(release, self.source)
                self.own.allow(release, state, "", [APPROVER])
            case ("wait", days):
                self.clock.at += days * DAY

    def tend(self) -> None:
        """As the services do."""
        for each in (self.center, self.own):
            each.freshen()
        self.mirror.update(self.source)
        for path in self.place.rglob("*"):
            if path.is_file() and path.stat().st_mtime > self.clock.at:
                os.utime(path, (self.clock.at, self.clock.at))  # the tests' clock, not this machine's
        self.center.prune(self.told.append)
        self.mirror.prune(self.own.folder, self.told.append)
        self.own.prune(self.told.append)

    def view(self, repository: Repository, holder: str) -> View:
        trusted = pinned(repository.metadata("1.root.json"), repository.fingerprint(), holder)
        return refresh(trusted, FolderFetcher(repository.folder), self.clock, lambda kept: None)

    def check(self) -> None:
        federation = self.view(Repository(self.mirror.folder, self.clock), TARGETS)
        assert federation == self.view(self.center, TARGETS)
        channels = federation.channel, self.view(self.own, COUNTERSIGNED).channel
        self.past = [each for each in self.past if each[0] > self.clock.at] + [(self.clock.at + 6 * DAY, channels)]
        for _, seen in self.past:
            found = both(seen)
            for one in (found.active, found.shadow):
                if one is not None:
                    self.is_whole(self.mirror.folder, one)
        for digest in needed_of(channels[0]):
            self.is_whole(self.center.folder, next(one for one in channels[0].releases if one.manifest == digest))

    def is_whole(self, folder: Path, release) -> None:
        manifest = read_manifest((folder / manifest_name(release)).read_bytes())
        for file in manifest.files.values():
            assert sha256_of(folder / "blobs" / file.sha256) == file.sha256


@given(st.lists(STEPS, min_size=3, max_size=9))
@settings(max_examples=6)
def test_whatever_happens_what_is_needed_is_there(steps):
    with tempfile.TemporaryDirectory() as place:
        tier = Tier(Path(place))
        for step in [("ship", 0), ("ship", 0), *steps]:
            try:
                tier.take(step)
            except (ConfigError, Unreachable):  # no such release, or one so old that the center has its files no more
                continue
            tier.tend()
            tier.check()


def test_old_releases_go_and_what_they_share_with_newer_ones_stays(tmp_path):
    tier = Tier(tmp_path)
    for _ in range(4):
        tier.take(("ship", 0))
    tier.tend()
    blobs = [folder / "blobs" for folder in (tier.center.folder, tier.mirror.folder)]
    assert [len(list(each.iterdir())) for each in blobs] == [5, 5]  # a card, and a model each
    assert not tier.told
    tier.take(("wait", 8))
    tier.tend()
    tier.check()
    assert [len(list(each.iterdir())) for each in blobs] == [3, 3]
    assert {path.name[65:] for path in (tier.center.folder / "targets").iterdir()} == {"00000003.json", "00000004.json"}
    assert tier.told[0].bytes > 16
    assert tier.center.edition().channel.releases[0].counter == 1
    with pytest.raises(Unreachable, match="release 1 is not there"):
        tier.mirror.copy(tier.center.edition().channel.releases[0], tier.source)
    seen = len(tier.told)
    tier.tend()
    assert len(tier.told) == seen


def test_what_is_young_or_begun_stays_and_what_was_left_over_goes(tmp_path):
    tier = Tier(tmp_path)
    tier.propose(b"model")
    tier.tend()
    blobs = tier.mirror.folder / "blobs"
    blobs.mkdir()
    for name, age in (("a" * 64, 2), ("b" * 64 + ".part", 2), ("." + "c" * 64, 2), ("d" * 64 + ".part", 0.5), ("note", 99)):
        (blobs / name).write_bytes(b"x")
        os.utime(blobs / name, (tier.clock.at - age * YOUNG_S, tier.clock.at - age * YOUNG_S))
    tier.tend()
    assert sorted(path.name[:1] for path in blobs.iterdir()) == ["d", "n"]


def test_a_release_that_is_looked_at_again_is_young_again(tmp_path):
    tier = Tier(tmp_path)
    for step in (("propose", 0), ("allow", (1, State.ACTIVE)), ("roll back", 1), ("wait", 6)):
        tier.take(step)
        tier.tend()
    model = max((tier.mirror.folder / "blobs").iterdir())
    before = model.stat().st_mtime
    tier.mirror.copy(tier.center.edition().channel.releases[0], tier.source)
    assert model.stat().st_mtime == tier.clock.at > before


def test_while_a_release_is_copied_nothing_goes(tmp_path):
    tier = Tier(tmp_path)
    tier.mirror.update(tier.source)
    (tier.mirror.folder / "blobs").mkdir()
    spare = tier.mirror.folder / "blobs" / ("a" * 64)
    spare.write_bytes(b"x")
    os.utime(spare, (1, 1))
    with tier.mirror._writing(".copying"):
        assert not tier.mirror.prune(tier.own.folder, tier.told.append).files
    assert spare.exists()
    assert tier.mirror.prune(tier.own.folder, tier.told.append).files == (spare,)


@pytest.mark.parametrize("what", ["metadata/timestamp.json", "metadata/2.targets.json", "targets"])
def test_where_it_is_not_known_what_is_needed_nothing_goes(tmp_path, what):
    tier = Tier(tmp_path)
    tier.propose(b"model")
    place = tier.center.folder / what
    damaged = next(place.iterdir()) if place.is_dir() else place
    damaged.write_bytes(b"{}")
    spare = tier.center.folder / "blobs" / ("a" * 64)
    spare.write_bytes(b"x")
    os.utime(spare, (1, 1))
    with pytest.raises(StoreError, match="no file"):
        tier.center.prune(tier.told.append)
    assert spare.exists()


def test_what_cannot_be_written_down_is_not_removed(tmp_path):
    tier = Tier(tmp_path)
    spare = tier.center.folder / "blobs" / ("a" * 64)
    spare.parent.mkdir()
    spare.write_bytes(b"x")
    os.utime(spare, (1, 1))

    def full(found: pruning.Surplus) -> None:
        raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="full"):
        tier.center.prune(full)
    assert spare.exists()
