from __future__ import annotations

import json

import pytest

from fedmed.clinic.archiving import archiver_of
from fedmed.clinic.folder import open_clinic
from fedmed.clinic.recording import FOLDER as AUDIT
from fedmed.clock import SystemClock
from fedmed.config.archive import Archive
from fedmed.config.roles import HUB_FILE, Hub, written
from fedmed.hub.folder import make_hub, open_hub
from fedmed.hub.landing import Arrived
from fedmed.hub.serving import keepers_of
from tests.center.federation import federation
from tests.hub.clinic import piece_of


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    with federation(tmp_path_factory.mktemp("clinic")) as up:
        yield up.joined("north").path


@pytest.fixture
def ask(clinic, said):
    return lambda *given: said("clinic", "archive", *given, "--at", clinic)


def test_from_the_first_study_to_a_damaged_one(ask, clinic, said, tmp_path):
    code, _, err = ask("list")
    assert (code, "invite one" in err) == (2, True)
    hub = make_hub(clinic, Hub(clinic="north"), SystemClock())
    code, _, err = ask("status")
    assert (code, "archive names no place" in err) == (2, True)
    rule = Archive(to=str(tmp_path / "away"), keep_gb=0)
    (hub.path / HUB_FILE).write_bytes(written(Hub(clinic="north", archive=rule)))
    assert ask("list")[:2] == (0, "nothing is in the archive yet\n")

    for study, content in (("1.2", b"one"), ("1.3", b"two")):
        keepers_of(hub)["study"]([Arrived("echo", piece_of(content, study=study), content)])
    told: list[str] = []
    archiver = archiver_of(open_clinic(clinic, SystemClock()), open_hub(clinic, SystemClock()), told.append)
    assert archiver is not None
    assert archiver.turn().why == ""

    code, out, err = ask("list", "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert [(row["study"], row["images"], row["bytes"], row["where"]) for row in rows] == [
        ("1.2", 1, 3, "away"),
        ("1.3", 1, 3, "away"),
    ]
    assert "there" in ask("list")[1]
    code, out, err = ask("status")
    assert (code, "2 studies of 6 B are in the archive" in out, "the hub is not up" in err) == (0, True, True)
    code, out, err = ask("recall", "1.2")
    assert (code, out) == (0, "study 1.2 is here again: 1 image, 0.0 MB\n"), err
    assert json.loads(ask("status", "--json")[1])["here_too"] == 1
    code, _, err = ask("recall", "9.9")
    assert (code, "no study of the archive is '9.9'" in err) == (2, True)
    code, out, _ = ask("verify")
    assert (code, out) == (0, "2 of 2 packs are as they were put there\n")

    (tmp_path / "away" / rows[1]["name"]).write_bytes(b"altered")
    code, out, err = ask("verify", "--json")
    assert (code, [bool(each["error"]) for each in json.loads(out)].count(True)) == (5, 1)
    assert "missing or altered" in err
    assert ask("recall", "1.3")[0] == 5
    events = json.loads(said("audit", "show", clinic / AUDIT, "--json")[1])["events"]
    kept = [(row["action"], row["outcome"], row["role"]) for row in events]
    assert kept[-7:] == [
        ("archive.study", "done", "site"),
        ("archive.study", "done", "site"),
        ("restore.study", "done", "operator"),
        ("archive.verify", "done", "operator"),
        ("archive.verify", "failed", "operator"),
        ("restore.study", "done", "operator"),
        ("restore.study", "failed", "operator"),
    ]
