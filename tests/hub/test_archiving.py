from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fedmed.dicom.arrivals import facts_of
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.errors import ArchiveAltered, ConfigError, StoreError
from fedmed.hub.archiving import SECRET_FILE
from fedmed.identity.files import KeyRefused
from fedmed.store.archive.vault import MARK, Vault
from fedmed.store.blobs import FolderStore
from tests.hub.archived import Hubs, aged
from tests.hub.clinic import serving

ROOT = Path(__file__).resolve().parents[2]
bucket_module = pytest.importorskip("tests.store.bucket")


@pytest.fixture
def bucket():
    with bucket_module.serving() as served:
        yield served


def at(bucket, path: Path, **more: object) -> dict[str, object]:
    place = bucket.place(path)
    return {"to": "s3://models/north", "endpoint": place.endpoint, "credentials": place.credentials, **more}


def test_a_bucket_takes_old_studies_and_gives_them_back(tmp_path, bucket):
    hub = Hubs(tmp_path, **at(bucket, tmp_path, keep_gb=None, after_days=30))
    large = random.Random(1).randbytes(9 << 20)  # in parts
    hub.sends("2.25.7712", b"one", large)
    hub.sends("2.25.7713", b"two", device="mri")
    archiver = hub.archiver()
    assert archiver.turn().studies == 0
    aged(hub.folder.path / "studies", 40)
    hub.sends("2.25.7714", b"new")
    assert archiver.turn().why == ""
    assert hub.contents() == [b"new"]
    keys = [path for method, path, _ in bucket.asked if method == "PUT"]
    assert all("2.25.7712" not in key and "echo" not in key for key in keys)
    archive = hub.archive()
    archive.recall("2.25.7712")
    assert hub.contents() == sorted([b"new", b"one", large])
    assert [each.action for each in hub.events] == ["archive.study", "archive.study", "restore.study"]
    assert all("2.25.7712" not in str(each) and "echo" not in str(each) for each in hub.events)
    archive.index.close()


def test_a_bucket_that_is_not_there_refuses_or_is_silent_moves_nothing(tmp_path, bucket):
    hub = Hubs(tmp_path, **at(bucket, tmp_path))
    hub.sends("1.2", b"one")
    endpoint = hub.config.archive.endpoint
    for wrong, said in (
        ({"to": "s3://nowhere/north"}, "NoSuchBucket"),
        ({"to": "s3://models/north", "endpoint": "http://127.0.0.1:9"}, "does not answer"),
    ):
        hub.says(**wrong)
        found = hub.archiver().turn()
        assert said in found.error
        assert found.studies == 1
        assert found.since is not None
        assert hub.contents() == [b"one"]
    hub.says(endpoint=endpoint)
    bucket.refuses = "InvalidAccessKeyId"
    archiver = hub.archiver()
    assert "InvalidAccessKeyId); see bucket and credentials" in archiver.turn().error
    first = archiver.turn().since
    assert archiver.turn().since == first  # since when, not until when
    assert len(hub.told) == 3  # the same trouble is told once
    bucket.refuses = None
    assert archiver.turn().error == ""
    assert hub.told[-1] == "archive: studies go there again"
    assert hub.contents() == []


def test_a_line_that_goes_away_for_days_and_what_the_status_says(tmp_path, bucket):
    hub = Hubs(tmp_path, **at(bucket, tmp_path))
    hub.sends("1.2", b"one" * 1000)
    archiver = hub.archiver()
    assert archiver.turn().error == ""
    hub.sends("1.3", b"two" * 1000)
    hub.sends("1.4", b"three" * 1000)
    bucket.fails_after = 0
    for _ in range(3):
        found = archiver.turn()
    assert (found.studies, found.bytes) == (2, 8000)
    assert found.why.startswith("2 studies of 0.0 GB wait: s3://models/north/")
    assert "SlowDown" in found.why
    bucket.fails_after = None
    assert archiver.turn().why == ""
    assert hub.contents() == []


def test_an_object_in_the_bucket_that_was_altered(tmp_path, bucket):
    import boto3

    hub = Hubs(tmp_path, **at(bucket, tmp_path))
    hub.sends("1.2", b"one")
    hub.archiver().turn()
    archive = hub.archive()
    [row] = archive.index.rows()
    client = boto3.Session("k", "s", region_name="us-east-1").client("s3", endpoint_url=hub.config.archive.endpoint)
    client.put_object(Bucket="models", Key=f"north/{row.name}", Body=b"another clinic's")
    with pytest.raises(ArchiveAltered, match="not what was sealed there with this clinic's key"):
        archive.recall("1.2")
    client.delete_object(Bucket="models", Key=f"north/{row.name}")
    with pytest.raises(ArchiveAltered, match="is missing"):
        archive.recall("1.2")
    assert hub.contents() == []
    archive.index.close()


def test_the_sealed_store_of_the_clinic_is_archived_and_its_own_imports_stay(tmp_path):
    hub = Hubs(tmp_path, str(tmp_path / "away"), store="store")
    hub.sends("1.2", b"one", b"two")
    holding = hub.archive()._holding
    own = holding._store.put(b"by the staff", {"place": "a/b.dcm"})
    hub.archiver().turn()
    assert (holding._store.addresses(), holding._store.away()) == ([own], 2)
    archive = hub.archive()
    archive.recall("1.2")
    assert sorted(holding._store.get(each) for each in holding._store.addresses()) == [b"by the staff", b"one", b"two"]
    [facts] = [holding._store.facts(each) for each in holding._store.addresses() if holding._store.get(each) == b"two"]
    assert facts == {"device": "echo", "study": "1.2"}
    archive.index.close()


def test_an_image_says_its_study_itself(tmp_path):
    write_hospitals(tmp_path / "images", 3, share=0.02)
    hub = Hubs(tmp_path, str(tmp_path / "away"))
    images = [path.read_bytes() for path in sorted((tmp_path / "images").rglob("*.dcm"))[:2]]
    hub.sends("", *images, b"no image")
    archive = hub.archive()
    kept = {archive._holding.read(each.name)[0]: each.study for each in archive._holding.kept()}
    assert [kept[image] for image in images] == [facts_of(image)["study"] for image in images]
    assert kept[b"no image"] == hashlib.sha256(b"no image").hexdigest()  # alone
    archive.index.close()


def test_a_full_disk_on_the_way_back_leaves_nothing(tmp_path, monkeypatch):
    hub = Hubs(tmp_path, str(tmp_path / "away"))
    hub.sends("1.2", b"one", b"two")
    hub.archiver().turn()
    module = __import__("fedmed.hub.kept", fromlist=["put_file"])
    real, left = module.put_file, [3]

    def full(path: Path, content: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(module, "put_file", full)
    archive = hub.archive()
    with pytest.raises(StoreError, match="No space left on device"):
        archive.recall("1.2")
    assert [path for path in (hub.folder.path / "studies").rglob("*") if path.is_file()] == []
    left[0] = 100
    archive.recall("1.2")
    assert hub.contents() == [b"one", b"two"]
    archive.index.close()


def test_places_and_keys_that_cannot_be(tmp_path):
    hub = Hubs(tmp_path, str(tmp_path / "away"))
    hub.sends("1.2", b"one")
    hub.says(to=str(tmp_path / "clinic/devices/away"))
    with pytest.raises(ConfigError, match="lie in each other"):
        hub.archive()
    hub.says(to=str(tmp_path / "away"))
    hub.archiver().turn()
    secret = hub.folder.path / SECRET_FILE
    secret.rename(tmp_path / "kept")
    with pytest.raises(KeyRefused, match="is gone; put a copy of it back"):
        hub.archive()
    (tmp_path / "kept").rename(secret)
    (tmp_path / "file").write_bytes(b"")
    hub.says(to=str(tmp_path / "file"))
    assert "Not a directory" in hub.archiver().turn().error


def test_the_hub_itself_moves_what_devices_send(tmp_path, bucket):
    hub = Hubs(tmp_path / "a", **at(bucket, tmp_path))
    hub.sends("1.2", b"one")
    archiver = hub.archiver()
    with serving(tmp_path / "b") as place:
        place.hub._archiver = archiver
        assert place.hub.standing()["archive"]["studies"] == 0
        archiver.start()
        until = time.monotonic() + 30
        while hub.contents() and time.monotonic() < until:
            time.sleep(0.02)
        assert hub.contents() == []
        bucket.refuses = "AccessDenied"
        hub.sends("1.3", b"two")
        archiver.turn()
        place.hub.look()
        [task] = [each for each in place.hub.standing()["placement"]["tasks"] if each["name"] == "archive"]
        assert (task["kind"], task["where"]) == ("storage", ["clinic:north"])
        assert "AccessDenied" in place.hub.standing()["archive"]["why"]
        bucket.refuses = None
        archiver.turn()
        place.hub.look()
        assert not [each for each in place.hub.standing()["placement"]["tasks"] if each["name"] == "archive"]


def test_killed_at_any_moment_a_study_is_here_or_there(tmp_path):
    hub = Hubs(tmp_path, str(tmp_path / "away"))
    chance, ever = random.Random(7), {}
    for study in range(4):
        contents = [chance.randbytes(chance.choice((10, 70_000, 2_500_000))) for _ in range(4)]
        ever[f"1.{study}"] = sorted(contents)
        hub.sends(f"1.{study}", *contents)
    for _ in range(4):
        moving = subprocess.Popen(
            [sys.executable, "-m", "tests.hub.mover", str(hub.clinic)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert moving.stdout.readline() == b"open\n"
        time.sleep(chance.random() * 0.3)
        moving.kill()
        moving.wait()
        moving.stdout.close()
        _is_here_or_there(hub, tmp_path / "away", ever)
    archive = hub.archive()
    archive.open()
    here = {each.study for each in archive._holding.kept()}
    for study, contents in ever.items():
        if study in here:
            names = [each.name for each in archive._holding.kept() if each.study == study]
            assert sorted(archive._holding.read(name)[0] for name in names) == contents
        else:
            archive.recall(study)
    assert hub.contents() == sorted(content for contents in ever.values() for content in contents)
    assert not [each for each in archive.verify() if each.error]
    archive.index.close()


def _is_here_or_there(hub: Hubs, away: Path, ever: dict[str, list[bytes]]) -> None:
    archive = hub.archive()
    vault: Vault = archive.vault
    assert isinstance(vault.store, FolderStore)
    assert (away / MARK).exists()
    here = {each.name: each.study for each in archive._holding.kept()}
    found: dict[str, dict[str, bytes]] = {study: {} for study in ever}
    for name, study in here.items():
        found[study][name] = archive._holding.read(name)[0]
    for name in vault.names():
        with vault.open(name) as (manifest, objects):
            for item, content in objects:
                found[manifest.study][item.name] = content
    assert {study: sorted(each.values()) for study, each in found.items()} == ever
    archive.index.close()


def test_a_fault_that_nobody_knows_of_is_told_and_stands_in_the_status(tmp_path, monkeypatch):
    hooked: list[object] = []
    monkeypatch.setattr(threading, "excepthook", hooked.append)
    hub = Hubs(tmp_path, to=str(tmp_path / "archive"))
    archiver = hub.archiver()

    def fails(_: object) -> None:
        raise KeyError("a fault")

    archiver._made = fails
    archiver.start()
    archiver._thread.join(30)
    assert "the thread 'archive' ended by a fault (KeyError)" in archiver.standing()["error"]
    assert hub.told == [f"archive: {archiver.standing()['error']}"]
    assert len(hooked) == 1
    archiver.stop()
