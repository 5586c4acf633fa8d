from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedmed.center.enrolment import EnrolmentApp
from fedmed.center.folder import CenterFolder, make_center
from fedmed.center.listening import Listener
from fedmed.center.releases import PATH, ReleasesApp
from fedmed.clinic.releases import LineFetcher, tending
from fedmed.config.roles import Center
from fedmed.errors import JoinRefused, ReleaseRefused
from fedmed.identity.approver import FILE, ApproverKey, Approvers
from fedmed.releases.fetching import FolderFetcher
from fedmed.wire.tensors import sha256
from tests.center.federation import Brisk, Federation, tls
from tests.releases.simulator import Box

WORDS = "four quite different words"


@contextmanager
def federation(place: Path):
    """A center that serves releases beside enrolment."""
    config = Center(federation="study", host="127.0.0.1", also=("127.0.0.1",), port=1)
    folder = make_center(place / "center", config, Brisk())
    enrolment, releases = EnrolmentApp(folder), ReleasesApp(folder.path, folder.admissions())

    async def app(scope, receive, send):
        await (releases if scope["path"] == PATH else enrolment)(scope, receive, send)

    with Listener(app, tls(folder), "127.0.0.1", 0) as listener:
        served = config.model_copy(update={"port": listener.port})
        yield Federation(CenterFolder(folder.path, served, folder.clock, folder.enrolments), listener, place)


class Two:
    """A center and a clinic, each commanded as by its people."""

    def __init__(self, up: Federation, said) -> None:
        self.place, self._said, self.clinic_folder = up.place, said, up.joined("north")
        (self.place / "words").write_text(WORDS)
        for name in ("ada", "bo"):
            key, approvers = ApproverKey.generate(), Approvers(self.clinic_folder.path / FILE)
            key.save(self.place / f"{name}.key", WORDS)
            first = ApproverKey.load(self.place / "ada.key", WORDS)
            approvers.add(name, key.public, *(("ada", first) if approvers else ()))

    def center(self, *arguments: object):
        return self._json("release", *arguments, "--at", self.place / "center", "--json")

    def clinic(self, *arguments: object):
        return self._json("clinic", "release", *arguments, "--at", self.clinic_folder.path, "--json")

    def fails(self, code: int, *arguments: object) -> str:
        found, out, err = self._said(*arguments)
        assert (found, out) == (code, "")
        return err

    def _json(self, *arguments: object):
        code, out, err = self._said(*arguments)
        assert code == 0, err
        return json.loads(out)

    def signed_by(self, name: str) -> tuple[object, ...]:
        return ("--approver", name, "--key", self.place / f"{name}.key", "--passphrase-file", self.place / "words")

    def package(self, name: str, **files: bytes) -> Path:
        folder = self.place / name
        folder.mkdir()
        for file, data in files.items():
            (folder / file).write_bytes(data)
        (folder / "card.json").write_text(json.dumps({"name": "thorax", "version": name}))
        return folder


@pytest.fixture
def two(tmp_path, said):
    with federation(tmp_path) as up:
        yield Two(up, said)


def begun(two: Two) -> str:
    fingerprint = two.center("init", "--root-key", two.place / "keys" / "root.key")["fingerprint"]
    two.clinic("init", "--fingerprint", fingerprint, "--root-key", two.place / "keys" / "clinic.key")
    return fingerprint


def test_from_a_package_to_a_device_and_back(two, tmp_path):
    begun(two)
    first, second = two.package("1.0", model=b"first"), two.package("1.1", model=b"good" + bytes(5_000_000))
    for number, package in ((1, first), (2, second)):
        assert two.center("propose", package)["release"] == number
        assert [two.center("promote", number)["state"] for _ in range(2)] == ["shadow", "active"]
    listed = two.clinic("list")
    assert ([one["here"] for one in listed["releases"]], listed["active"]) == ([None, None], None)
    two.clinic("approve", 1, *two.signed_by("ada"))
    two.clinic("approve", 2, *two.signed_by("bo"))
    assert two.clinic("list")["active"] == 2

    served = two.clinic_folder.path / "releases"
    box = device(served, tmp_path)
    assert (box.live(4).active, box.device.slots.content(box.device.slots.active).counter) == (second_model(second), 2)
    assert two.center("rollback", 2, "--why", "wrong on thin slices")["active"] == 1
    assert two.clinic("list")["active"] == 1
    assert box.live(4).active == b"first"
    logged = two._said("audit", "show", two.place / "center" / "audit", "--json")[1]
    assert [logged.count(f"release.{word}") for word in ("init", "propose", "promote", "rollback")] == [1, 2, 4, 1]
    logged = two._said("audit", "show", two.clinic_folder.path / "audit", "--json")[1]
    assert logged.count("release.approve") == 2


def second_model(package: Path) -> bytes:
    return (package / "model").read_bytes()


def device(served: Path, folder: Path) -> Box:
    """One whose authorities are the folders that a clinic serves its devices from."""

    class Served(FolderFetcher):
        def __init__(self, place: Path) -> None:
            super().__init__(place)
            self.root = (place / "metadata" / "1.root.json").read_bytes()

    class Clinic:
        clock = Brisk()
        federation, clinic = Served(served / "federation"), Served(served / "own")

    return Box(Clinic(), folder / "box")


def test_refused_by_the_clinic(two, tmp_path):
    begun(two)
    two.center("propose", two.package("1.0", model=b"first"))
    for _ in range(2):
        two.center("promote", 1)
    two.clinic("approve", 1, "--shadow", *two.signed_by("ada"))
    assert two.clinic("list")["active"] is None
    two.clinic("approve", 1, *two.signed_by("ada"))
    box = device(two.clinic_folder.path / "releases", tmp_path)
    assert box.live(4).active == b"first"
    two.clinic("refuse", 1, "--why", "not for us", *two.signed_by("bo"))
    assert two.clinic("list")["releases"][0]["here"] == "rolled back"
    box.live()
    assert any("runs on until" in told.text for told in box.told)


def test_a_root_that_is_not_the_told_one(two):
    two.center("init", "--root-key", two.place / "root.key")
    keys = ("--root-key", two.place / "clinic.key", "--at", two.clinic_folder.path)
    err = two.fails(4, "clinic", "release", "init", "--fingerprint", "ab" * 32, *keys)
    assert "ask whoever told it to you" in err
    assert "64 digits" in two.fails(2, "clinic", "release", "init", "--fingerprint", "abc", *keys)


def test_what_is_refused_at_the_center(two):
    at = ("--at", two.place / "center")
    assert "fedmed release init" in two.fails(2, "release", "status", *at)
    inside = two.place / "center" / "root.key"
    assert "elsewhere" in two.fails(2, "release", "init", "--root-key", inside, *at)
    assert "allowed are 1 to 1" in two.fails(2, "release", "init", "--root-key", two.place / "r", "--threshold", 2, *at)
    two.center("init", "--root-key", two.place / "root.key")
    assert "never written over" in two.fails(2, "release", "init", "--root-key", two.place / "root.key", *at)
    bare = two.place / "bare"
    bare.mkdir()
    assert "card.json" in two.fails(2, "release", "propose", bare, *at)
    assert "0 files" in two.fails(3, "release", "propose", bare, "--name", "m", "--version", "1", *at)
    (bare / "sub").mkdir()
    assert "flat folder" in two.fails(3, "release", "propose", bare, "--name", "m", "--version", "1", *at)
    assert "no release 7" in two.fails(2, "release", "promote", 7, *at)
    assert "no release yet" in two._said("release", "status", *at)[1]
    two.center("propose", two.package("1.0", model=b"first"))
    assert "say why" in two.fails(2, "release", "rollback", 1, "--why", " ", *at)
    two.center("rollback", 1, "--why", "a mistake")
    assert "goes no further" in two.fails(2, "release", "promote", 1, *at)
    assert "rolled back" in two._said("release", "status", *at)[1]


def test_what_is_refused_at_the_clinic(two):
    begun(two)
    two.center("propose", two.package("1.0", model=b"first"))
    at = ("--at", two.clinic_folder.path)
    assert "no release 3" in two.fails(2, "clinic", "release", "approve", 3, *two.signed_by("ada"), *at)
    assert "may not approve here" in two.fails(2, "clinic", "release", "approve", 1, *two.signed_by("eve"), *at)
    swapped = ("--approver", "ada", "--key", two.place / "bo.key", "--passphrase-file", two.place / "words")
    assert "not the one by which" in two.fails(2, "clinic", "release", "approve", 1, *swapped, *at)
    two.center("rollback", 1, "--why", "a mistake")
    assert "a mistake" in two.fails(4, "clinic", "release", "approve", 1, *two.signed_by("ada"), *at)
    logged = two._said("audit", "show", two.clinic_folder.path / "audit", "--json")[1]
    assert logged.count('"refused"') == 2


def test_renewed_keys_and_other_approvers(two, tmp_path):
    begun(two)
    two.center("propose", two.package("1.0", model=b"first"))
    two.center("promote", 1)
    two.clinic("approve", 1, *two.signed_by("ada"))
    box = device(two.clinic_folder.path / "releases", tmp_path)
    box.live()
    two.center("keys", "--root-key", two.place / "keys" / "root.key", "--new-root-key", two.place / "keys" / "new.key")
    two.center("promote", 1)
    assert two.clinic("list")["active"] == 1
    assert box.live(4).active == b"first"
    old = ("--root-key", two.place / "keys" / "root.key", "--at", two.place / "center")
    assert "allowed are 1 to 0" in two.fails(2, "release", "keys", *old)
    (two.clinic_folder.path / FILE).unlink()
    key = ApproverKey.generate()
    Approvers(two.clinic_folder.path / FILE).add("cy", key.public)
    key.save(two.place / "cy.key", WORDS)
    two.clinic("approvers", "--root-key", two.place / "keys" / "clinic.key")
    with pytest.raises(ReleaseRefused, match="signed by 0/1"):
        box.device.beat()
    two.clinic("approve", 1, *two.signed_by("cy"))
    box.device.beat()
    assert box.running == b"first"


def test_only_members_fetch_and_only_files_of_releases(two, tmp_path):
    begun(two)
    fetcher = LineFetcher(two.clinic_folder.line())
    root = (two.place / "center" / "releases" / "metadata" / "1.root.json").read_bytes()
    assert b"".join(fetcher.pieces("metadata/1.root.json", 0)) == root
    assert b"".join(fetcher.pieces("metadata/1.root.json", 10)) == root[10:]
    assert fetcher.pieces(f"blobs/{sha256(b'')}", 0) is None
    for name in ("keys/fresh.key", "metadata/../keys/fresh.key", "../center.keys"):
        with pytest.raises(JoinRefused, match="the name of a file of releases"):
            fetcher.pieces(name, 0)


def test_a_hub_brings_what_devices_see_up_to_date(two):
    tend = tending(two.clinic_folder, print)
    tend()  # nothing was begun
    begun(two)
    two.center("propose", two.package("1.0", model=b"first"))
    tend()
    served = two.clinic_folder.path / "releases" / "federation"
    assert (served / "metadata" / "2.targets.json").exists()
    path = two.place / "center" / "releases" / "metadata" / "timestamp.json"
    path.write_bytes(path.read_bytes().replace(b'"expires":"20', b'"expires":"21'))
    with pytest.raises(ReleaseRefused):
        tend()
