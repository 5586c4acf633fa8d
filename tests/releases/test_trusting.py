from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.clock import SystemClock
from fedmed.errors import ReleaseRefused, StoreError, Unreachable
from fedmed.releases.channel import State
from fedmed.releases.fetching import METADATA, TARGETS, FolderFetcher, whole
from fedmed.releases.trusting import MOST, Trusted, pinned, read_trusted, refresh
from fedmed.wire.tensors import sha256
from tests.releases.simulator import DAY, Authority, Standing


@pytest.fixture
def center() -> Authority:
    made = Authority(Standing())
    made.promote(made.propose(model=b"x"), 2)
    return made


def trust(center: Authority) -> Trusted:
    return pinned(center.root, sha256(center.root), TARGETS)


def test_what_is_signed_is_read_and_kept_step_by_step(center):
    kept: list[Trusted] = []
    view = refresh(trust(center), center, center.clock, kept.append)
    assert view.channel == center.edition.channel
    assert view.channel.active.state is State.ACTIVE
    assert (view.root, view.version) == (1, 4)
    assert [len(each.roles) for each in kept] == [1, 2, 3, 3]
    assert read_trusted(kept[-1].encoded()) == kept[-1]
    center.asked.clear()
    assert refresh(kept[-1], center, center.clock, kept.append) == view
    assert center.asked == [f"{METADATA}/2.root.json", f"{METADATA}/timestamp.json"]
    assert len(kept) == 4


def test_a_newer_timestamp_is_kept_although_what_it_names_is_withheld(center):
    kept: list[Trusted] = []
    refresh(trust(center), center, center.clock, kept.append)
    old = dict(center.files)
    center.freshen()
    del center.files[f"{METADATA}/{center.edition.snapshot.signed.version}.snapshot.json"]
    with pytest.raises(ReleaseRefused, match="is not there"):
        refresh(kept[-1], center, center.clock, kept.append)
    center.files = old
    with pytest.raises(ReleaseRefused, match="timestamp version"):
        refresh(kept[-1], center, center.clock, kept.append)


def test_a_clock_that_was_set_back_revives_nothing_even_where_versions_were_lost(center):
    kept: list[Trusted] = []
    seen = replace(trust(center), unix=center.clock.unix() + 8 * DAY)
    center.clock.sleep(-5 * 365 * DAY)
    with pytest.raises(ReleaseRefused, match="expired"):
        refresh(seen, center, center.clock, kept.append)
    center.clock.sleep(5 * 365 * DAY + 8 * DAY)
    center.freshen()
    center.clock.sleep(-5 * 365 * DAY)
    assert refresh(seen, center, center.clock, kept.append).version == 4


def test_a_channel_that_nobody_stated_yet():
    clinic = Authority(Standing(), approvers=1)
    view = refresh(pinned(clinic.root, sha256(clinic.root), "countersigned"), clinic, clinic.clock, lambda kept: None)
    assert (view.channel.releases, view.version) == ((), 0)


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"kind":"fedmed-trusted-1","trusted":{},"sha256":""}']
)
def test_damaged_trust_is_never_begun_anew_silently(damage):
    with pytest.raises(StoreError, match="pin the authority's root anew"):
        read_trusted(damage)


@pytest.mark.parametrize(
    "junk", [b"", b"{}", b"null", b"[" * 10_000, b"\xff\xfe", b'{"signed":{"_type":"timestamp"},"signatures":[]}']
)
def test_junk_in_place_of_metadata(center, junk):
    for name in list(center.files):
        center.files[name] = junk
    center.files.pop(f"{METADATA}/2.root.json", None)
    with pytest.raises(ReleaseRefused):
        refresh(trust(center), center, center.clock, lambda kept: None)


def test_a_slow_answer_is_none(center):
    def slow(name, offset):
        for byte in center.files[name]:
            center.clock.sleep(5)
            yield bytes([byte])

    center.pieces, real = slow, center.pieces  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="within 60 s"):
        whole(center, f"{METADATA}/timestamp.json", MOST["timestamp"], center.clock)
    assert real(f"{METADATA}/timestamp.json", 0)


def test_only_names_of_releases_are_read_from_a_folder(tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / METADATA).mkdir()
    (tmp_path / METADATA / "timestamp.json").write_bytes(b"0123")
    fetcher = FolderFetcher(tmp_path / METADATA / "..")
    for name in ("secret", "../secret", "metadata/../secret", "keys/targets.key", "metadata/timestamp.json\n", ""):
        assert fetcher.pieces(name, 0) is None
    assert b"".join(fetcher.pieces("metadata/timestamp.json", 2)) == b"23"


def put(center: Authority, role: str, data: bytes) -> None:
    """In place of the newest metadata of a role."""
    center.files[newest(center, role)] = data


def newest(center: Authority, role: str) -> str:
    return [name for name in center.files if name.endswith(f"{role}.json") and "metadata" in name][-1]


ATTACKS = {
    "none": lambda center: None,
    "older targets": lambda center: put(center, "targets", center.files[f"{METADATA}/3.targets.json"]),
    "older snapshot": lambda center: put(center, "snapshot", center.files[f"{METADATA}/2.snapshot.json"]),
    "no snapshot": lambda center: center.files.pop(newest(center, "snapshot")),
    "cut timestamp": lambda center: put(center, "timestamp", center.files[f"{METADATA}/timestamp.json"][:-2]),
    "of another": lambda center: put(center, "timestamp", Authority(center.clock).files[f"{METADATA}/timestamp.json"]),
    "expired": lambda center: center.clock.sleep(-9 * DAY) or center.freshen() or center.clock.sleep(9 * DAY),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_as_the_stock_client_judges(center, attack, tmp_path):
    """python-tuf's own client over the same files: it takes what we take, refuses what we refuse."""
    from tuf.api.exceptions import DownloadHTTPError, RepositoryError
    from tuf.ngclient import FetcherInterface, Updater

    center.clock.at = SystemClock().unix()
    center.freshen()
    ATTACKS[attack](center)
    names = {name.removeprefix(f"{METADATA}/"): data for name, data in center.files.items()}

    class Stock(FetcherInterface):
        def _fetch(self, url):
            if url.rpartition("/")[2] not in names:
                raise DownloadHTTPError("not there", 404)
            return iter([names[url.rpartition("/")[2]]])

    stock = Updater(str(tmp_path), "http://x/", str(tmp_path), "http://x/", Stock(), bootstrap=center.root)
    try:
        stock.refresh()
        taken = True
    except (RepositoryError, DownloadHTTPError):
        taken = False
    try:
        refresh(trust(center), center, center.clock, lambda kept: None)
        ours = True
    except ReleaseRefused:
        ours = False
    assert ours == taken == (attack == "none")
    if taken:
        info = stock.get_targetinfo("00000001.json")
        names = {Path(name).name: data for name, data in center.files.items()}
        assert Path(stock.download_target(info)).read_bytes() in center.files.values()
