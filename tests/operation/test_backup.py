from __future__ import annotations

import json
import threading
from io import BytesIO
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, StoreError
from fedmed.operation import backup as module
from fedmed.operation.backup import CENTER, CLINIC, MAGIC, back_up, restore
from fedmed.operation.settling import MARK, refuse_unsettled, restored, settle
from fedmed.operation.snapshot import snapshot
from fedmed.privacy import wrapping
from fedmed.privacy.keys import SiteKey
from fedmed.privacy.sealing import seal
from fedmed.privacy.wrapping import WrongKey
from fedmed.store import chain
from fedmed.store.locks import alone
from fedmed.wire.canonical import canonical
from tests.operation.clocks import Hand

KEY = SiteKey(b"k" * 32)
TO = wrapping.recipient(KEY)


def wrap(secret: bytes) -> dict:
    return wrapping.for_recipient(secret, TO)


@pytest.fixture
def clinic(tmp_path) -> Path:
    folder = tmp_path / "clinic"
    for name, content in {
        "clinic.yaml": b"name: north\n",
        "member.keys": b"secret",
        "ledgers/skin.budget.jsonl": b"{}\n",
        "approvals/a.json": b"{}",
        "keystore/keys": b"state",
        "keystore.key": b"key",
        "keystore.key.counter": b"7",
        "spool/answer": b"masked",
        "running/states/ab/7.state": b"sealed",
        "status.json": b"{}",
        ".clinic.yaml.new": b"half",
        ".service.lock": b"",
        "empty": b"",
        "long/" + "x" * 180 + "/" + "y" * 200: b"deep" * 1000,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_in_a_backup_and_what_is_not(clinic, tmp_path):
    made = back_up(clinic, CLINIC, "north", tmp_path / "north.backup", wrap, Hand())
    assert (tmp_path / "north.backup").stat().st_mode & 0o077 == 0
    raw = (tmp_path / "north.backup").read_bytes()
    assert not any(word in raw for word in (b"secret", b"member.keys", b"north"))
    assert "twice alike" in made.left_out["keystore"]
    before = content(clinic)
    gone = {
        "keystore/keys",
        "keystore.key",
        "keystore.key.counter",
        "spool/answer",
        "running/states/ab/7.state",
        "status.json",
        ".clinic.yaml.new",
    }
    back = restore(tmp_path / "north.backup", CLINIC, tmp_path / "new", None, KEY, Hand())
    after = content(tmp_path / "new")
    assert after.pop(MARK)
    assert after == {name: each for name, each in before.items() if name not in gone | {".service.lock"}}
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "new").rglob("*")} == {0}
    assert (back.name, back.files, back.unix) == ("north", made.files, made.unix)
    assert content(clinic) == before  # nothing is left of the making


def test_nothing_starts_before_somebody_has_looked(clinic, tmp_path):
    back_up(clinic, CLINIC, "north", tmp_path / "b", wrap, Hand(1.0))
    restore(tmp_path / "b", CLINIC, tmp_path / "new", None, KEY, Hand(9.0))
    found = restored(tmp_path / "new")
    assert found is not None
    assert found.unix - found.made_unix == 8
    with pytest.raises(StoreError, match="budgets lack") as refused:
        refuse_unsettled(tmp_path / "new")
    assert f"fedmed clinic settle --who NAME --at {tmp_path / 'new'}" in str(refused.value)
    settle(tmp_path / "new")
    refuse_unsettled(tmp_path / "new")
    (tmp_path / "new" / MARK).touch(0o600)
    (tmp_path / "new" / MARK).write_text("{")
    with pytest.raises(StoreError, match="restore again"):
        refuse_unsettled(tmp_path / "new")


def test_a_chain_that_grows_is_whole_in_every_backup(clinic, tmp_path):
    path, stop = clinic / "ledgers" / "growing.jsonl", threading.Event()
    lock = path.with_name(f".{path.name}.lock")
    end = chain.extend(path, chain.end_of(path), {"n": 0})

    def grow() -> None:
        nonlocal end
        while not stop.is_set():
            with alone(lock):
                end = chain.extend(path, end, {"n": end.lines})

    with alone(lock):
        pass
    growing = threading.Thread(target=grow)
    growing.start()
    try:
        for number in range(8):
            back_up(clinic, CLINIC, "north", tmp_path / f"b{number}", wrap, Hand())
    finally:
        stop.set()
        growing.join()
    lengths = []
    for number in range(8):
        restore(tmp_path / f"b{number}", CLINIC, tmp_path / f"r{number}", None, KEY, Hand())
        bodies = chain.verify(tmp_path / f"r{number}" / "ledgers" / "growing.jsonl", dict)
        assert [body["n"] for body in bodies] == list(range(len(bodies)))
        lengths.append(len(bodies))
    assert lengths == sorted(lengths)
    assert lengths[-1] > lengths[0]


def test_who_holds_a_lock_is_waited_for_and_the_services_own_is_not(clinic):
    entered, waiting = threading.Event(), threading.Event()

    def take() -> None:
        waiting.set()
        with snapshot(clinic, {}):
            entered.set()

    with alone(clinic / "ledgers" / ".x.lock"), alone(clinic / ".service.lock"):
        taking = threading.Thread(target=take)
        taking.start()
        assert waiting.wait(30)
        assert not entered.wait(0.2)
    assert entered.wait(30)
    taking.join()


@pytest.mark.parametrize("where", [0, 20, 200, -20, -1])
@pytest.mark.parametrize("how", ["flip", "cut", "grow"])
def test_an_altered_backup_restores_nothing(clinic, tmp_path, where, how):
    back_up(clinic, CLINIC, "north", tmp_path / "b", wrap, Hand())
    raw = bytearray((tmp_path / "b").read_bytes())
    if how == "flip":
        raw[where] ^= 1
    elif how == "cut":
        del raw[where:]
    else:
        raw[where:where] = b"x"
    (tmp_path / "b").write_bytes(raw)
    with pytest.raises((StoreError, ConfigError)):
        restore(tmp_path / "b", CLINIC, tmp_path / "new", None, KEY, Hand())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "clinic"]


def test_refusals(clinic, tmp_path):
    made = tmp_path / "b"
    back_up(clinic, CLINIC, "north", made, wrap, Hand())
    with pytest.raises(ConfigError, match="never written over"):
        back_up(clinic, CLINIC, "north", made, wrap, Hand())
    with pytest.raises(ConfigError, match=r"no center\.yaml"):
        back_up(clinic, CENTER, "study", tmp_path / "c", wrap, Hand())
    with pytest.raises(ConfigError, match="fedmed clinic restore"):
        restore(made, CENTER, tmp_path / "new", None, KEY, Hand())
    with pytest.raises(ConfigError, match="not empty"):
        restore(made, CLINIC, clinic, None, KEY, Hand())
    with pytest.raises(WrongKey):
        restore(made, CLINIC, tmp_path / "new", None, SiteKey(b"o" * 32), Hand())
    with pytest.raises(StoreError, match="cannot be read"):
        restore(tmp_path / "none", CLINIC, tmp_path / "new", None, KEY, Hand())
    with pytest.raises(StoreError, match="cannot be written"):
        back_up(clinic, CLINIC, "north", tmp_path / "none" / "b", wrap, Hand())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil"])
def test_an_archive_that_leads_out_of_its_folder(tmp_path, name):
    secret = b"s" * 32
    header = canonical(wrap(secret)) + b"\n"
    sealed = BytesIO()
    seal(secret, module._bound(header), BytesIO(b"".join([*module._member(name, 1, iter([b"x"])), bytes(1024)])), sealed)
    (tmp_path / "b").write_bytes(MAGIC + header + sealed.getvalue())
    with pytest.raises(StoreError, match="no file below its folder"):
        restore(tmp_path / "b", CLINIC, tmp_path / "new", None, KEY, Hand())
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_what_a_dead_process_left_is_swept(clinic):
    (clinic / ".backup-1").mkdir()
    (clinic / ".backup-1" / "0").touch()
    with snapshot(clinic, {}) as taken:
        assert "clinic.yaml" in {each.name for each in taken.files}
    assert not list(clinic.glob(".backup-*"))


def test_a_manifest_that_does_not_fit(clinic, tmp_path, monkeypatch):
    monkeypatch.setattr(
        module, "_content", lambda taken, hear: iter([bytes(taken.size)])
    )  # a disk that reads what is not there
    back_up(clinic, CLINIC, "north", tmp_path / "b", wrap, Hand())
    with pytest.raises(StoreError, match="not what the manifest says"):
        restore(tmp_path / "b", CLINIC, tmp_path / "new", None, KEY, Hand())


def test_every_reason_is_told_as_json(clinic, tmp_path):
    made = back_up(clinic, CLINIC, "north", tmp_path / "b", wrap, Hand())
    assert json.loads(json.dumps(dict(made.left_out))) == made.left_out
