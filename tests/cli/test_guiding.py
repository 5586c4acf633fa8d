"""One command from nothing to an approved run, typed at a terminal or said by options."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.center.proposals import propose
from fedmed.clinic import colleagues
from fedmed.clinic.folder import CERTIFICATE_FILE, open_clinic
from fedmed.config.loading import parse
from fedmed.flower.keys import DESCRIBE
from fedmed.identity.approver import FILE, ApproverKey
from fedmed.identity.pins import words
from fedmed.store.audit import checking
from tests.center.federation import Brisk
from tests.cli.place import PASSPHRASE, Place
from tests.cli.terminal import CTRL_C, terminal
from tests.clinic.staff import SCENARIO, text


@pytest.fixture
def at(place, command):
    """Runs `fedmed clinic approve wards-1` on a terminal, at home in the test's own folder."""

    def run(*more: object):
        return terminal([*command, "clinic", "approve", "wards-1", *more, "--at", place.folder], place.place)

    return run


@pytest.fixture
def south(place) -> str:
    """The words of a member that nobody has approved."""
    return words(place.up.joined("south").keys().fingerprint)


def pinned(place: Place) -> list[str]:
    return sorted(each.name for each in open_clinic(place.folder, Brisk()).pins().values())


def require_all(place: Place) -> None:
    """The run may go on now, and each step was written into the log once."""
    warrant = place.warrant(place.offers[0].offered.reference)
    warrant.allow(DESCRIBE, text(warrant.approval.inquiry))
    assert checking.check(place.folder / "audit", Brisk().unix(), None, None, []).size == 4


def written(place: Place) -> set[str]:
    return {path.name for path in place.folder.iterdir()} & {FILE, "approvals", "datasets", "audit"}


def by_options(place: Place, south: str, **changed: tuple[object, ...]) -> tuple[object, ...]:
    said = {
        "approver": ("--approver", "frey", "--key", place.place / "frey.key", "--passphrase-file", place.place / "secret"),
        "data": ("--folder", place.place / "wards"),
        "release": ("--release",),
        "member": ("--member", f"south={south}"),
        "yes": ("--yes",),
    } | changed
    return ("approve", "wards-1", *(part for parts in said.values() for part in parts))


def test_typed_from_nothing_to_an_approved_run(place, at, south):
    place.up.joined("west")
    with at() as line:
        for asked, answer in (
            ("Who approves", "Dr. Frey"),
            ("cannot be called 'Dr. Frey'", "frey"),
            ("four words:", "short"),
            ("confirmation:", "short"),
            ("12 or more, such as four words\nA passphrase for frey's key, such as four words:", PASSPHRASE),
            ("confirmation:", PASSPHRASE),
            ("no data set is registered yet", "/nowhere"),
            ("/nowhere is not there", place.place / "wards"),
            ("42 cases to train on", "y"),
            ("not approved here yet: south, west", south.upper()),
            ("south is approved", south),
            ("words typed are not those", ""),
            ("rounds with west will be refused", "y"),
        ):
            line.reads(asked)
            line.types(answer)
        code, rest = line.ends()
    assert code == 0, rest
    assert "wards-1: approved, until" in rest
    assert pinned(place) == ["north", "south"]
    require_all(place)


def test_whoever_stops_goes_on_from_there(place, at, south):
    with at() as line:
        for asked, answer in (("Who approves", "frey"), ("four words:", PASSPHRASE), ("confirmation:", PASSPHRASE)):
            line.reads(asked)
            line.types(answer)
        line.reads("read as csv")
        line.types(CTRL_C, end="")
        line.reads("run the same command again")
        assert line.ends()[0] == 130
    assert written(place) == {FILE, "audit"}
    with at("--release", "--member", f"south={south}") as line:
        line.reads("read as csv")
        line.types(place.place / "wards")
        line.reads("Approve this as frey?")
        line.types("n")
        code, rest = line.ends()
    assert (code, "what was said before stays" in rest) == (2, True)
    with at() as line:
        for asked, answer in (
            ("Approve this as frey?", "y"),
            ("Passphrase of frey", "wrong"),
            ("approver's key\nPassphrase of frey", PASSPHRASE),
        ):
            assert "read as" not in line.reads(asked)
            line.types(answer)
        assert line.ends()[0] == 0
    require_all(place)


def test_files_of_several_sites_and_a_run_that_is_not_there_yet(place, at):
    table = place.place / "wards" / "cases.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, *(line.replace("north", "east") for line in lines[1:])]) + "\n")
    offered = place.offers[:]
    place.offers[:] = [propose("other", parse(SCENARIO, "s"))]
    assert place.approver("frey")[0] == 0
    with at("--wait", "--no-release", "--key", place.place / "frey.key") as line:
        line.reads("waiting for the center to ask for wards-1, 0 min")
        line.reads("it offers other@")
        place.offers[:] = offered
        for asked, answer in (
            ("read as csv", place.place / "wards"),
            ("Which is this clinic's: north | east", "north"),
            ("Approve this as frey?", "y"),
            ("Passphrase of frey", PASSPHRASE),
        ):
            line.reads(asked)
            line.types(answer)
        code, rest = line.ends()
    assert code == 0, rest
    assert place.json("data", "show", "wards")["site"] == "north"


def test_said_by_options_at_once_and_again(place, south):
    facts = place.json(*by_options(place, south))
    assert [next(iter(each)) for each in facts["done"]] == ["approver", "dataset", "released", "member"]
    assert (facts["run"], facts["standing"], facts["by"], facts["skipped"]) == ("wards-1", "approved", ["frey"], [])
    assert facts["done"][1] == {"dataset": "wards", "cases": {"train": 42, "validation": 6, "test": 12}, "set_aside": 0}
    require_all(place)
    assert place.json(*by_options(place, south))["done"] == []
    code, _, err = place(*by_options(place, south, name=("--dataset", "wards", "--set", "split.test=0.4")))
    assert (code, "called 'wards' already" in err) == (2, True)


def test_whom_to_leave_out_can_be_said(place, south):
    code, out, err = place(*by_options(place, south, member=("--member", "south=skip"), release=("--no-release",)))
    assert (code, err) == (0, "")
    assert "rounds with south will be refused" in out
    assert "approving is not enough" in out
    assert pinned(place) == ["north"]


def test_what_lacks_is_said_at_once_where_nobody_can_be_asked(place, south):
    code, out, err = place("approve", "wards-1")
    assert (code, out) == (2, "")
    for option in ("--approver", "--passphrase-file", "--dataset", "--folder", "--release", "--member south=", "--yes"):
        assert option in err
    assert written(place) == set()


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"data": ("--folder", "/nowhere")}, 2, "is not there"),
        ({"data": ("--dataset", "x")}, 2, "no data set is called 'x' here"),
        ({"data": ("--site", "east")}, 2, "give --folder PATH"),
        ({"data": ("--reader", "phantom")}, 2, "the run reads csv"),
        ({"member": ("--member", "south=one two three four five six")}, 5, "the words typed are not those"),
        ({"member": ("--member", "south=skip", "--member", "west=skip")}, 5, "lists 0 members called 'west'"),
        ({"member": ("--member", "south")}, 2, "each member once"),
        ({"yes": ("--json",)}, 2, "--yes"),
        ({"days": ("--days", "0")}, 2, "1 to 366"),
        ({"wait": ("--key", "NORTH/a.key")}, 2, "which the daemon reads"),
    ],
)
def test_nothing_is_written_where_one_answer_will_not_do(place, south, changed, code, words):
    said = [str(part).replace("NORTH", str(place.folder)) for part in by_options(place, south, **changed)]
    got, _, err = place(*said)
    assert (got, words in err) == (code, True), err
    assert written(place) <= {"audit", "datasets"}
    assert not list(place.folder.glob("datasets/*"))
    assert not (place.place / "frey.key").exists()
    assert pinned(place) == ["north"]


def test_a_run_that_is_not_offered_names_those_that_are(place):
    code, _, err = place("approve", "wards-2", "--yes")
    assert code == 2
    assert "does not ask for a run 'wards-2' yet; it offers wards-1@" in err
    assert "--wait" in err


@pytest.mark.parametrize("done", range(5))
def test_what_another_command_or_an_earlier_try_did_is_gone_on_with(place, south, done):
    """Each step as its own command, in the order of writing; a key whose name did not reach the list comes first."""
    ApproverKey.generate().save(place.place / "frey.key", PASSPHRASE)
    options = ("--set", "site=ward", "--set", 'classes=["0", "1"]', "--set", "seed=7")
    steps = [
        ("approver", "frey", "--key", place.place / "frey.key", "--passphrase-file", place.place / "secret"),
        ("data", "add", "wards", "--reader", "csv", "--folder", place.place / "wards", *options),
        ("data", "release", "wards", "--purpose", "research"),
        ("members", "approve", "south", "--words", south),
    ]
    for step in steps[:done]:
        assert place(*step)[0] == 0
    facts = place.json(*by_options(place, south))
    assert len(facts["done"]) == len(steps) - done
    require_all(place)


def test_a_center_that_lists_a_second_member_under_the_name(place, south, monkeypatch):
    """The words are those of one of them; the other must not come in by the same name."""
    mallory = colleagues.from_file(open_clinic(place.folder, Brisk()), place.up.joined("mallory").path / CERTIFICATE_FILE)
    true = colleagues.listed
    monkeypatch.setattr(colleagues, "listed", lambda folder: [replace(mallory, name="south"), *true(folder)])
    code, _, err = place(*by_options(place, south), "--member", "mallory=skip")
    assert (code, "lists 2 members called 'south'" in err) == (5, True)
    assert pinned(place) == ["north"]
