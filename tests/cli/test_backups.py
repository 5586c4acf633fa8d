"""The drill: a center and a clinic are lost, and come back from their backups."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fedmed.center.folder import CenterFolder, open_center
from fedmed.center.models import open_registry
from fedmed.clinic.folder import KEYS_FILE, ClinicFolder, make_clinic, open_clinic
from fedmed.clinic.gatehouse import WATCH
from fedmed.clock import SystemClock
from fedmed.config.roles import Clinic
from fedmed.identity.enrolment import Stage
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import certificate_request
from fedmed.identity.witness import Accuse, Countersign
from fedmed.operation.settling import refuse_unsettled
from fedmed.store.audit.event import event
from fedmed.store.audit.log import AuditLog
from fedmed.store.audit.watch import Watch
from tests.store.models.shelves import committed, model

CLOCK = SystemClock()


@pytest.fixture
def place(tmp_path, monkeypatch, said) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDMED_CENTER", raising=False)
    monkeypatch.delenv("FEDMED_CLINIC", raising=False)
    assert said("center", "init", "center", "--name", "study", "--host", "127.0.0.1")[0] == 0
    (tmp_path / "passphrase").touch(0o600)
    (tmp_path / "passphrase").write_text("correct horse battery\n")
    return tmp_path


def joined(center: CenterFolder, path: Path) -> ClinicFolder:
    keys = MemberKeys.generate()
    keys.save(path / KEYS_FILE)
    certificate, _ = center.sign(certificate_request(keys, "north"))
    config = Clinic(federation="study", name="north", host="127.0.0.1", center=center.keys().signing_public.hex())
    return make_clinic(path, config, center.authority().certificate, certificate, CLOCK)


def log_of(center: CenterFolder) -> AuditLog:
    return AuditLog.make(center.path / "audit", "study", center.keys(), CLOCK)


def watching(clinic: ClinicFolder, center: CenterFolder) -> Watch:
    keys = center.keys()
    return Watch(
        clinic.path / WATCH, keys.fingerprint, clinic.keys(), lambda: {keys.fingerprint: keys.signing_public}, CLOCK
    )


def offered(watch: Watch, log: AuditLog):
    before = watch.state.newest
    head = log.head()
    proof = log.consistency(before.size) if before is not None and before.size <= head.size else ()
    return [type(each) for each in watch.offered(head, proof)]


def happens(log: AuditLog, times: int = 1) -> None:
    log.append(*[event(CLOCK.unix(), "study", "center", "round.commit", "run", round=n) for n in range(times)])


def test_a_center_comes_back_and_its_clinics_forgive_it(place, said):
    assert said("center", "invite", "north", "--at", "center")[0] == 0
    center = open_center(place / "center", CLOCK)
    open_registry(center).commit(committed(1), model(1))
    log, clinic = log_of(center), joined(center, place / "north")
    happens(log, 3)
    watch = watching(clinic, center)
    assert offered(watch, log) == [Countersign]

    code, out, err = said("center", "backup", "b", "--at", "center", "--passphrase-file", "passphrase", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["left_out"][".enrolment.json.lock"]
    happens(log, 5)
    assert offered(watch, log) == [Countersign]
    keys = center.keys()
    shutil.rmtree(place / "center")

    code, out, err = said("center", "restore", "b", "again", "--passphrase-file", "passphrase")
    assert (code, err) == (0, "")
    assert "fedmed clinic forgive" in out
    code, _, err = said("center", "up", "--at", "again")
    assert (code, "settle --who NAME" in err) == (5, True)
    assert said("center", "settle", "--who", "ada", "--at", "again")[0] == 0
    refuse_unsettled(place / "again")
    assert said("center", "settle", "--who", "ada", "--at", "again")[0] == 2

    restored = open_center(place / "again", CLOCK)
    assert restored.keys().fingerprint == keys.fingerprint
    assert restored.enrolments.roll().of("north").stage is Stage.INVITED
    assert said("center", "models", "verify", "--at", "again")[0] == 0
    code, out, _ = said("audit", "show", "again/audit", "--json")
    assert code == 0
    assert [each in out for each in ('"backup"', '"restore"')] == [True, True]
    assert said("audit", "verify", "again/audit")[0] == 0

    log = log_of(restored)
    assert Accuse in offered(watch, log)
    assert Countersign not in offered(watching(clinic, restored), log)
    code, out, err = said("clinic", "forgive", "--who", "bob", "--at", "north")
    assert (code, err) == (0, "")
    assert "rewritten" in out
    assert len(list((place / "north").glob("watch-*.json"))) == 1
    assert offered(watching(clinic, restored), log) == [Countersign]
    happens(log)
    assert offered(watching(clinic, restored), log) == [Countersign]
    assert "restore.forgive" in said("audit", "show", "north/audit", "--json")[1]
    assert said("clinic", "forgive", "--who", "bob", "--at", "north")[0] == 2


def test_a_clinic_comes_back_with_a_key_that_was_in_a_safe(place, said):
    center = open_center(place / "center", CLOCK)
    clinic = joined(center, place / "north")
    (clinic.path / "keystore").mkdir()
    (clinic.path / "keystore" / "keys").write_bytes(b"of this epoch")
    assert said("data", "key", "safe")[0] == 0
    code, out, _ = said("clinic", "recipient", "safe")
    assert code == 0
    code, told, err = said("clinic", "backup", "b", "--at", "north", "--to", out.strip())
    assert (code, err) == (0, "")
    assert "mask twice alike" in told
    fingerprint = clinic.keys().fingerprint
    shutil.rmtree(place / "north")
    assert said("clinic", "restore", "b", "north", "--passphrase-file", "passphrase")[0] == 2
    code, told, err = said("clinic", "restore", "b", "north", "--key", "safe", "--json")
    assert (code, err) == (0, "")
    assert any("budgets" in each for each in json.loads(told)["look_at"])
    assert open_clinic(place / "north", CLOCK).keys().fingerprint == fingerprint
    assert not (place / "north" / "keystore").exists()
    assert said("clinic", "settle", "--who", "bob", "--at", "north")[0] == 0


def test_refusals_of_the_command_line(place, said):
    both = ("--passphrase-file", "passphrase", "--to", "x")
    assert said("center", "backup", "b", "--at", "center", *both)[0] == 2
    assert said("center", "backup", "b", "--at", "center", "--to", "x")[0] == 2
    assert said("center", "backup", "passphrase", "--at", "center", "--passphrase-file", "passphrase")[0] == 2
    (place / "short").touch(0o600)
    (place / "short").write_text("short")
    assert said("center", "backup", "b", "--at", "center", "--passphrase-file", "short")[0] == 2
    (place / "passphrase").chmod(0o644)
    code, _, err = said("center", "backup", "b", "--at", "center", "--passphrase-file", "passphrase")
    assert (code, "others can read" in err) == (5, True)
    assert not (place / "b").exists()
