from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from fedmed.errors import ConfigError, StoreError
from fedmed.identity.releases import ReleaseKey
from fedmed.releases.channel import State
from fedmed.releases.edition import TIMESTAMP_FILE, Terms
from fedmed.releases.fetching import COUNTERSIGNED, TARGETS, FolderFetcher
from fedmed.releases.mirror import Mirror
from fedmed.releases.repository import Repository, card_of
from fedmed.releases.trusting import pinned, refresh
from fedmed.store.disk import Disk
from tests.identity.parties import Standing
from tests.releases.simulator import DAY


class Stops(Disk):
    """Ends at the call `fails_at` that renames: what was renamed before is there."""

    def __init__(self, fails_at: int) -> None:
        self.fails_at = fails_at

    def rename(self, old, new):
        self.fails_at -= 1
        if self.fails_at == 0:
            raise OSError(28, "No space left on device")
        super().rename(old, new)


@pytest.fixture
def package(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "model").write_bytes(b"good")
    return tmp_path / "package"


@pytest.fixture
def center(tmp_path) -> Repository:
    made = Repository(tmp_path / "center", Standing())
    made.begin([ReleaseKey.generate()])
    return made


def seen(repository: Repository, holder: str = TARGETS):
    trusted = pinned(repository.metadata("1.root.json"), repository.fingerprint(), holder)
    return refresh(trusted, FolderFetcher(repository.folder), repository.clock, lambda kept: None)


def test_what_is_published_is_what_a_stranger_verifies(center, package):
    for state in (State.CANDIDATE, State.SHADOW, State.ACTIVE):
        release = center.promote(1) if state is not State.CANDIDATE else center.propose(package, "thorax", "1.0")
        assert (release.counter, release.state) == (1, state)
        assert seen(center).channel == center.edition().channel
    center.roll_back(1, "wrong")
    assert seen(center).channel.active is None
    with pytest.raises(ConfigError, match="never written over"):
        center.begin([ReleaseKey.generate()])


@pytest.mark.parametrize("fails_at", range(1, 7))
def test_a_full_disk_at_any_file_leaves_the_edition_before(center, package, fails_at, tmp_path):
    center.propose(package, "thorax", "1.0")
    before = seen(center)
    (package / "model").write_bytes(b"better")
    broken = Repository(center.folder, center.clock, disk=Stops(fails_at))
    if fails_at <= 5:
        with pytest.raises(StoreError, match=r"No space left.*what was served before is whole"):
            broken.propose(package, "thorax", "1.1")
        assert seen(center) == before
    if fails_at == 6:
        broken.propose(package, "thorax", "1.1")  # it takes five
    assert center.propose(package, "thorax", "1.1").counter == (2 if fails_at <= 5 else 3)
    assert seen(center).channel.releases[-1].version == "1.1"


def test_dates_are_renewed_after_a_third_of_their_time(center):
    assert not center.freshen()
    center.clock.sleep(Terms().fresh * DAY / 3 - 10)
    assert not center.freshen()
    center.clock.sleep(20)
    until = seen(center).expires
    assert center.freshen()
    assert seen(center).expires > until
    assert not center.freshen()


def test_keys_are_readable_by_their_owner_alone_and_a_clinic_keeps_none_for_its_targets(center, tmp_path):
    clinic = Repository(tmp_path / "clinic", Standing())
    clinic.begin([ReleaseKey.generate()], (1, 1), [ReleaseKey.generate().public])
    found = sorted((tmp_path).glob("*/keys/*"))
    assert [f"{path.parent.parent.name}/{path.name}" for path in found] == [
        "center/fresh.key",
        "center/targets.key",
        "clinic/fresh.key",
    ]
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}


def test_a_clinic_whose_approvers_change(center, package, tmp_path):
    root, old, new = (ReleaseKey.generate() for _ in range(3))
    clinic = Repository(tmp_path / "clinic", Standing())
    clinic.begin([root], (1, 1), [old.public])
    release = center.propose(package, "thorax", "1.0")
    clinic.allow(release, State.ACTIVE, "", [old])
    assert seen(clinic, COUNTERSIGNED).channel.find(1).state is State.ACTIVE
    with pytest.raises(ConfigError, match="not the clinic's root key"):
        clinic.delegate([old], [new.public], 1)
    clinic.delegate([root], [new.public], 1)
    clinic.allow(release, State.SHADOW, "", [new])
    assert seen(clinic, COUNTERSIGNED).channel.find(1).state is State.SHADOW


def test_damaged_metadata_is_named(center):
    path = center.folder / "metadata" / TIMESTAMP_FILE
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StoreError, match="put a copy of the folder back"):
        center.edition()


def test_a_mirror_serves_what_it_verified(center, package, tmp_path):
    release = center.propose(package, "thorax", "1.0")
    mirror, source = Mirror(tmp_path / "mirror", center.clock), FolderFetcher(center.folder)
    with pytest.raises(ConfigError, match="fedmed clinic release init"):
        mirror.update(source)
    mirror.pin(source, center.fingerprint())
    view = mirror.update(source)
    mirror.copy(release, source)
    served = Repository(mirror.folder, center.clock)
    assert seen(served) == view
    blob = next((center.folder / "blobs").iterdir())
    assert (mirror.folder / "blobs" / blob.name).read_bytes() == b"good"
    center.promote(1)
    assert mirror.update(source).channel.find(1).state is State.SHADOW
    assert seen(served).channel.find(1).state is State.SHADOW
    other = Repository(tmp_path / "other", center.clock)
    other.begin([ReleaseKey.generate()])
    with pytest.raises(ConfigError, match="never begins anew"):
        mirror.pin(FolderFetcher(other.folder), other.fingerprint())


def test_a_mirror_follows_new_roots(tmp_path, package):
    key, center = ReleaseKey.generate(), Repository(tmp_path / "center", Standing())
    center.begin([key])
    mirror, source = Mirror(tmp_path / "mirror", center.clock), FolderFetcher(center.folder)
    mirror.pin(source, center.fingerprint())
    for _ in range(3):
        center.rotate([key], [key], 1)
    mirror.update(source)
    assert seen(Repository(mirror.folder, center.clock)).root == 4


def test_a_hub_and_a_command_bring_one_copy_up_to_date_at_once(center, package, tmp_path):
    center.propose(package, "chest", "1")
    source = FolderFetcher(center.folder)
    for number in range(5):
        mirror, together = Mirror(tmp_path / str(number), center.clock), Barrier(4, timeout=60)
        mirror.pin(source, center.fingerprint())

        def update(mirror=mirror, together=together) -> int:
            together.wait()
            return mirror.update(source).version

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(update) for _ in range(4)]
        assert {each.result() for each in asked} == {2}


def test_a_mirror_goes_on_with_a_file_that_was_cut_off(center, package, tmp_path):
    (package / "model").write_bytes(bytes(range(256)) * 4096)
    release = center.propose(package, "thorax", "1.0")
    mirror, source = Mirror(tmp_path / "mirror", center.clock), FolderFetcher(center.folder)
    mirror.pin(source, center.fingerprint())
    blob = next((center.folder / "blobs").iterdir())
    (mirror.folder / "blobs").mkdir()
    (mirror.folder / "blobs" / f"{blob.name}.part").write_bytes(blob.read_bytes()[:300_000])
    asked = []
    real = source.pieces
    source.pieces = lambda name, offset: asked.append((name, offset)) or real(name, offset)
    mirror.copy(release, source)
    assert asked[-1] == (f"blobs/{blob.name}", 300_000)
    assert (mirror.folder / "blobs" / blob.name).read_bytes() == blob.read_bytes()


def test_a_card_tells_its_name(package):
    assert card_of(package) == ("", "")
    (package / "card.json").write_text('{"name": "thorax", "version": 3}')
    assert card_of(package) == ("thorax", "3")
    (package / "card.json").write_text("[" * 9000)
    assert card_of(package) == ("", "")
    shutil.rmtree(package)
    assert card_of(package) == ("", "")
