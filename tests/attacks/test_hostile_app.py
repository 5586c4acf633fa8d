"""An app that a clinic approved and that is an enemy all the same; every try has a control, which works without the cell."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedmed.confinement.cell import Cell
from fedmed.errors import ConfigError
from fedmed.flower import arrays, identity, keys
from fedmed.flower.apphost import AppHost
from fedmed.flower.apps import AppRef
from fedmed.flower.guard import Guarded
from fedmed.flower.proposal import text_of
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg.round_messages import Header
from fedmed.store.departures import verify
from fedmed.wire.digest import digest_of
from tests.flower.resting import REST
from tests.outbound.test_gate import LAYOUT, MODEL, standing

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("confined.py")
APPS = PROGRAM.parent / "apps"
SCRATCH = 2**22
NOBODY = ["unshare", "-U", "--map-user=1234", "--map-group=1234"]
RUNGS = (
    {"of root": ("cell", []), "of a user": ("cell", NOBODY), "without namespaces": ("bare", NOBODY)}
    if os.geteuid() == 0
    else {"of a user": ("cell", []), "without namespaces": ("bare", [])}
)
"""How the daemon's cell is made, and what the daemon is started with."""
SECRET = "keystore password 1234"


@dataclass(frozen=True)
class Clinic:
    """Files as a clinic has them, and two sockets that somebody listens on."""

    folder: Path
    port: int

    def run(self, how: str, prefix: list[str], tries: list[Any], **more: Any) -> list[str]:
        given = {"how": how, "readable": [str(self.folder / "data")], "states": str(self.folder / "states"), "tries": tries}
        given["cell"] = {"scratch_bytes": SCRATCH}
        return self.ran(prefix, {**given, **more})[0]

    def ran(self, prefix: list[str], given: dict[str, Any]) -> tuple[list[str], str]:
        """What came of the tries, and what the daemon told its staff."""
        done = subprocess.run(
            [*prefix, sys.executable, PROGRAM],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=200,
            env={**os.environ, "PYTHONPATH": str(ROOT), "FEDMED_KEYSTORE": SECRET},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.fixture(scope="module")
def clinic(tmp_path_factory) -> Iterator[Clinic]:
    folder = tmp_path_factory.mktemp("clinic")
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.socket(socket.AF_UNIX) as local,
    ):
        yield furnished(folder, listening.getsockname()[1], local)


def furnished(folder: Path, port: int, local: socket.socket) -> Clinic:
    (folder / "data").mkdir()
    (folder / "data" / "case").write_text("patient 17")
    local.bind(str(folder / "data" / "socket"))
    local.listen()
    (folder / "data" / "socket").chmod(0o777)
    for name in ("member.keys", "keystore", "clinic.yaml", "approvals"):
        (folder / name).write_text(f"the {name}")
    (folder / "data" / "link").symlink_to(folder / "member.keys")
    (folder / "scratch").mkdir()
    return Clinic(folder, port)


def tries(clinic: Clinic) -> dict[str, tuple[str, dict[str, Any]]]:
    there, data = clinic.folder, clinic.folder / "data"
    return {
        **{f"reads {name}": ("reads", {"path": str(there / name)}) for name in ("member.keys", "keystore")},
        **{f"reads {name}": ("reads", {"path": str(there / name)}) for name in ("clinic.yaml", "approvals", "data/link")},
        "lists the clinic's folder": ("lists", {"path": str(there)}),
        "lists the machine": ("lists", {"path": "/"}),
        "reads the machine's users": ("reads", {"path": "/etc/passwd"}),
        "writes its data set": ("writes", {"path": str(data / "case")}),
        "adds to its data set": ("makes", {"path": str(data / "new")}),
        "opens its data set to all": ("opens_to", {"path": str(data / "case")}),
        "empties its data set": ("empties", {"path": str(data / "case")}),
        "removes its data set": ("removes", {"path": str(data / "case")}),
        "writes the approvals": ("writes", {"path": str(there / "approvals")}),
        "removes the approvals": ("removes", {"path": str(there / "approvals")}),
        "makes a file elsewhere": ("makes", {"path": "/var/tmp/fedmed-hostile"}),
        "changes the library": ("writes", {"path": str(PROGRAM)}),
        "knows the daemon's environment": ("knows", {"variable": "FEDMED_KEYSTORE"}),
        "opens a TCP socket": ("makes_socket", {"family": socket.AF_INET, "kind": socket.SOCK_STREAM}),
        "opens a UDP socket": ("makes_socket", {"family": socket.AF_INET6, "kind": socket.SOCK_DGRAM}),
        "opens a unix socket": ("makes_socket", {"family": socket.AF_UNIX, "kind": socket.SOCK_STREAM}),
        "opens a netlink socket": ("makes_socket", {"family": 16, "kind": socket.SOCK_RAW}),
        "opens a pair that sends to names": ("makes_pair", {"kind": socket.SOCK_DGRAM}),
        "dials the center": ("dials", {"port": clinic.port}),
        "dials a unix socket": ("dials_unix", {"path": str(data / "socket")}),
        "resolves a name": ("resolves", {"name": "localhost"}),
        "signals the daemon": ("signals", {"pid": "ME"}),
        "holds the daemon": ("opens_pid", {"pid": "ME"}),
        "traces the daemon": ("traces", {"pid": "ME"}),
        "reads the daemon's memory": ("reads_memory", {"pid": "ME", "address": "HERE"}),
        "opens the daemon's memory": ("opens_memory", {"pid": "ME"}),
        "reads the daemon's environment": ("reads_of", {"pid": "ME", "name": "environ"}),
        "forks": ("forks", {}),
        "starts a program": ("spawns", {}),
        "starts a program through the library": ("executes", {}),
        "clones itself": ("clones", {}),
        "makes namespaces": ("unshares", {}),
        "makes a ring of system calls": ("rings", {}),
        "asks for the kernel's keys": ("keys", {}),
        "lets go of its owner": ("clears_its_hold", {}),
        "lets itself be dumped": ("dumps", {}),
    }


NAMES = tuple(tries(Clinic(Path("/clinic"), 1)))
FREE = {"resolves a name", "makes a ring of system calls", "changes the library", "makes a file elsewhere"}
"""Without a control: they need what not every machine has, or would spoil what others use."""


def needs(clinic: Clinic) -> dict[str, tuple[str, dict[str, Any]]]:
    """What every app may do, and the largest files that it may write."""
    return {
        "its case": ("reads", {"path": str(clinic.folder / "data" / "case")}),
        "who it is": ("is_user", {}),
        "a pair": ("makes_pair", {"kind": socket.SOCK_STREAM}),
        "open files": ("names_descriptors", {}),
        "threads": ("threads", {"most": 50}),
        "too much": ("fills", {"folder": "/tmp", "most": 4 * SCRATCH}),
        "half": ("fills", {"folder": "/tmp", "most": SCRATCH // 2}),
    }


@pytest.fixture(scope="module")
def outcomes(clinic) -> dict[str, dict[str, str]]:
    """What came of what it needs and of each try, one app a rung; the controls last, since they do harm."""
    told = {**needs(clinic), **tries(clinic)}
    found = {rung: dict(zip(told, clinic.run(*how, list(told.values())), strict=True)) for rung, how in RUNGS.items()}
    for path in ("data/case", "approvals"):
        assert (clinic.folder / path).read_text() in ("patient 17", "the approvals")
    order = sorted((name for name in NAMES if name not in FREE), key=lambda name: "remove" in name)
    fills = ("fills", {"folder": str(clinic.folder / "scratch"), "most": 4 * SCRATCH})
    controls = clinic.run("none", [], [fills, *(told[name] for name in order)])
    return {**found, "control": dict(zip(["too much", *order], controls, strict=True))}


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("name", NAMES)
def test_what_an_app_must_not_do_it_cannot(outcomes, rung, name):
    said = outcomes[rung][name]
    assert re.match(r"\w*[eE]rror: ", said) or (name, said) == ("lists the clinic's folder", "did ['data']"), said


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FREE])
def test_without_a_cell_it_can(outcomes, name):
    assert outcomes["control"][name].startswith("did"), outcomes["control"][name]


@pytest.mark.parametrize("rung", RUNGS)
def test_what_it_needs_it_has(outcomes, rung):
    read, who, pair, open_files, threads = (
        outcomes[rung][name] for name in ("its case", "who it is", "a pair", "open files", "threads")
    )
    assert (read[:3], pair[:3], threads) == ("did", "did", "did 50")
    user, number, capabilities = ast.literal_eval(who[4:])
    assert (user not in (0, os.getuid()) or os.getuid() != 0, capabilities) == (True, "0" * 16)
    assert (number == 1) == (RUNGS[rung][0] == "cell")
    descriptors = ast.literal_eval(open_files[4:])
    assert [descriptors.pop(number) for number in (0, 1, 2)] == ["c", "c", "c"]
    assert list(descriptors.values()) == ["s"]  # the one to its owner


@pytest.mark.parametrize("rung", RUNGS)
def test_of_devices_it_has_those_that_are_named(clinic, rung):
    """As those of a GPU are, where there is one: here a driver that says ENXIO to who has no terminal."""
    terminal = ("opens", {"path": "/dev/tty"})
    [reached] = clinic.run(*RUNGS[rung], [terminal], cell={"devices": ["/dev/tty"]})
    assert "No such device or address" in reached
    [refused] = clinic.run(*RUNGS[rung], [terminal], cell={"devices": []})
    assert re.match("(PermissionError|FileNotFoundError)", refused)


@pytest.mark.parametrize("rung", RUNGS)
def test_it_fills_no_disk(outcomes, rung):
    inside, whole = outcomes[rung]["too much"], outcomes[rung]["half"]
    assert "Error" in inside
    assert whole == f"did {SCRATCH // 2}" if RUNGS[rung][0] == "cell" else "Error" in whole
    assert outcomes["control"]["too much"] == f"did {4 * SCRATCH}"


def test_its_threads_are_counted(clinic):
    assert clinic.run("cell", [], [("threads", {"most": 2000})], cell={"threads": 200}) == [
        "RuntimeError: can't start new thread"
    ]
    assert clinic.run("none", [], [("threads", {"most": 2000})]) == ["did 2000"]


LIES = ("raw", "unsealed", "shrinkable", "writable", "sparse", "short", "lying", "no json", "deep", "nothing", "another")


def test_an_answer_made_by_hand_is_refused_and_the_next_one_is_fine(clinic):
    told: list[Any] = []
    for how in LIES:
        told += [("says", {"how": how, "number": 77 if how == "another" else "NUMBER"}), ("is_user", {})]
    told += [("says_much", {}), ("is_user", {}), ("closes", {}), ("is_user", {}), ("says_large", {"size": 2**21})]
    made = clinic.run("cell", [], told, cell={"answer_bytes": 2**20})
    bad, fine, large = made[:-1:2], made[1::2], made[-1]
    assert all(said.startswith("did (") for said in fine), fine
    reasons = dict(zip([*LIES, "much", "closed"], bad, strict=True))
    assert large == "OSError: [Errno 27] File too large"
    for how, said in reasons.items():
        assert said.startswith("refused"), (how, said)
    assert "packet without a file" in reasons["raw"]
    for how in ("unsealed", "shrinkable", "writable", "much"):
        assert "can still be changed" in reasons[how]
    assert "not all there" in reasons["sparse"]
    assert "question 77" in reasons["another"]
    assert "process ended" in reasons["closed"]


@pytest.mark.parametrize("policy", ["strict", "as-available"])
def test_a_machine_without_namespaces_is_told_of_and_under_strict_runs_nothing(clinic, policy):
    how, prefix = RUNGS["without namespaces"]
    given = {"how": how, "readable": [], "states": str(clinic.folder / "states"), "tries": [("is_user", {})] * 2}
    said, staff = clinic.ran(prefix, {**given, "cell": {"policy": policy}})
    if policy == "strict":
        assert all("MissingPart: this machine cannot confine an app as `confinement: strict` asks" in each for each in said)
        assert "namespaces: unshare: Operation not permitted; to get it: set user.max_user_namespaces" in staff
    else:
        assert [each[:3] for each in said] == ["did", "did"]
        assert staff.count("hostile:app: less confined than it could be, namespaces: unshare: Operation not permitted") == 1


def test_it_does_not_sleep_for_ever(clinic):
    slept, after = clinic.run("cell", [], [("sleeps", {"seconds": 1000}), ("is_user", {})], limit_s=3)
    assert slept.startswith("refused the app did not answer within 3 s")
    assert after.startswith("did")


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("rung", RUNGS)
def test_it_does_not_outlive_its_daemon(clinic, rung):
    how, prefix = RUNGS[rung]
    given = {"how": how, "readable": [], "states": str(clinic.folder / "states"), "keep_running": True}
    given["tries"] = [("clears_its_hold", {}), ("sleeps", {"seconds": 1000})]
    with subprocess.Popen(
        [*prefix, sys.executable, PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as daemon:
        assert daemon.stdin is not None
        assert daemon.stdout is not None
        daemon.stdin.write(json.dumps(given).encode())
        daemon.stdin.close()
        assert b"Error" in daemon.stdout.readline()
        below = psutil.Process(daemon.pid).children(recursive=True)
        assert len(alive(below)) == 2  # who waits for it, and the app
        daemon.send_signal(signal.SIGKILL)
    psutil.wait_procs(below, 30)
    assert not alive(below)


def test_a_process_without_a_cell_does():
    program = "import subprocess, sys; print(subprocess.Popen(['sleep', '100'], stdout=2).pid, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        left = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
    assert alive([left])
    left.kill()


@pytest.mark.parametrize("place", ["data/keys", "data/deeper/keys"])
def test_keys_among_the_data_are_refused_before_anything_runs(tmp_path, place):
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text("secret")
    with pytest.raises(ConfigError, match="must stay hidden from the app, and lies in"):
        AppHost(
            AppRef(APPS, "hostile:app"), {}, Cell((tmp_path / "data",), hidden=(path,)), print, tmp_path / "states", REST
        )
    AppHost(AppRef(APPS, "hostile:app"), {}, Cell(hidden=(path,)), print, tmp_path / "states", REST).close()


def asked(given: dict[str, Any]) -> Message:
    """A masked round's work, which orders the app to smuggle."""
    identity.assume(identity.SERVER_NODE)
    order = json.dumps({"name": "smuggles", "given": given})
    content = RecordDict({"config": ConfigRecord({"order": order}), "arrays": arrays.own(MODEL)})
    digest = digest_of(text_of(content), MODEL)
    header = Header(1, Purpose.UPDATE, (1, 2, 3), digest, LAYOUT.digest(), LAYOUT.size, LAYOUT.bits)
    content[keys.ROUND] = ConfigRecord({keys.HEADER: header.encode(), keys.LAYOUT: LAYOUT.canonical()})
    message = Message(content, 2, "train")
    identity.set_message_id(message, "m1")
    return message


SMUGGLED = {
    "a tensor of another shape": {"tensors": {"w": [2, 3]}, "metrics": {}},
    "a tensor less": {"tensors": {}, "metrics": {}},
}


def test_what_the_layout_does_not_name_stays_in(tmp_path):
    here = standing(tmp_path)
    with_app = AppHost(AppRef(APPS, "hostile:app"), {}, Cell(), print, tmp_path / "states", REST)
    try:
        for given in SMUGGLED.values():
            reply = Guarded(with_app, here.gate)(asked(given), Context(1, 2, {}, RecordDict(), {}))
            assert reply.has_error()
        assert len(here.told) == len(SMUGGLED)
        fine = {"tensors": {"w": [2, 2], "patient_17": [3]}, "metrics": {"patient_17": 1.0}}
        reply = Guarded(with_app, here.gate)(asked(fine), Context(1, 2, {}, RecordDict(), {}))
        assert set(reply.content) == {keys.SEALED, "arrays"}  # what has no place in the layout is not sent
        (written,) = verify(here.ledger)
        assert [tensor for tensor in written.tensors if "patient" in str(tensor)] == []
        assert np.asarray(reply.content["arrays"][keys.VECTOR].numpy()).size == LAYOUT.size
    finally:
        with_app.close()
