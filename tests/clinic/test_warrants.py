from __future__ import annotations

import json

import pytest

from fedmed.clinic.releasing import released, withdrawn
from fedmed.clinic.terms import Terms
from fedmed.errors import NotApproved, StoreError
from fedmed.flower.keys import CENSUS, DESCRIBE, MEMBER, PROTOCOL
from fedmed.identity.approver import FILE
from fedmed.learning.order import Order
from fedmed.sites import prepared
from tests.clinic.staff import DATASET, Staffed, cases, offer, staffed, text


@pytest.fixture
def clinic(tmp_path) -> Staffed:
    return staffed(tmp_path)


def order(clinic: Staffed, what, number: int = 1) -> Order:
    rate = 0.1 * (1 - (number - 1) / 10)
    made = Order.model_validate(clinic.draft(what).order)
    return made.model_copy(update={"round": number, "learning_rate": rate, "seed": 3})


def test_what_was_approved_is_allowed_and_written_down(clinic):
    what = offer()
    clinic.approve(what)
    warrant = clinic.find(what.reference)
    assert (warrant.dataset.name, warrant.scenario, warrant.sizes.training) == (DATASET, what.proposal.scenario, 50)
    warrant.allow(DESCRIBE, text(warrant.approval.inquiry))
    warrant.allow(CENSUS, text(warrant.approval.inquiry))
    for number in (1, 10):
        warrant.allow("train", text(order(clinic, what, number).model_dump_json(), **{"server-round": number}))
        warrant.allow("evaluate", text(order(clinic, what, number).model_dump_json()))
    warrant.allow(MEMBER, "{}")
    warrant.allow(PROTOCOL, "{}")
    warrant.allow_epoch("malicious", 3, 3)
    assert set(warrant.app_files()) >= {"app.py", "__init__.py"}
    said = [(event.action, event.resource, event.round, event.outcome) for event in clinic.events]
    assert said == [
        ("access.describe", DATASET, None, "done"),
        ("access.census", DATASET, None, "done"),
        ("access.train", DATASET, 1, "done"),
        ("access.evaluate", DATASET, 1, "done"),
        ("access.train", DATASET, 10, "done"),
        ("access.evaluate", DATASET, 10, "done"),
    ]


def test_the_app_finds_the_cases_and_nothing_else(clinic, tmp_path):
    what = offer()
    clinic.approve(what)
    clinic.find(what.reference).lay_out(tmp_path / "laid")
    site = prepared.open_site(tmp_path / "laid", 0)
    dataset = clinic.datasets.get(DATASET)
    assert (site.name, len(site.train), site.version) == ("north", dataset.cases.train, dataset.digest)
    assert sorted(path.name for path in (tmp_path / "laid").iterdir()) == ["00000.safetensors", "index.json", "index.sha256"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "laid").iterdir()} == {0o400}
    assert (tmp_path / "laid").stat().st_mode & 0o777 == 0o700
    assert clinic.events[-1].action == "access.lay_out"


def test_files_that_changed_since_are_not_laid_out(clinic, tmp_path):
    what = offer()
    clinic.approve(what)
    warrant = clinic.find(what.reference)
    cases(tmp_path / "wards", seed=2)
    with pytest.raises(NotApproved, match="not what was released") as refused:
        warrant.lay_out(tmp_path / "laid")
    assert "60" not in str(refused.value)
    assert not (tmp_path / "laid").exists()
    assert "renew wards" in clinic.events[-1].reason
    (tmp_path / "wards" / "cases.csv").unlink()
    with pytest.raises(NotApproved, match="cannot read what its staff approved"):
        warrant.lay_out(tmp_path / "laid")


def test_withdrawn_in_mid_run(clinic):
    what = offer()
    clinic.approve(what)
    warrant = clinic.find(what.reference)
    ask = text(warrant.approval.inquiry)
    warrant.allow(DESCRIBE, ask)
    clinic.datasets.change(DATASET, lambda each: withdrawn(each, "Dr. Frey", "consent", clinic.clock.unix()))
    with pytest.raises(NotApproved) as refused:
        warrant.allow(DESCRIBE, ask)
    assert "consent" not in str(refused.value)
    assert (clinic.events[-1].action, clinic.events[-1].outcome) == ("refuse.run", "refused")
    assert "withdrawn at" in clinic.events[-1].reason
    clinic.datasets.change(DATASET, lambda each: released(each, "research", None, None, "x", clinic.clock.unix()))
    warrant.allow(DESCRIBE, ask)
    clinic.approvals.keep(clinic.approvals.the_one("wards-1").taken_back(clinic.clock.unix()))
    with pytest.raises(NotApproved, match="taken back"):
        warrant.allow(DESCRIBE, ask)


def test_a_log_that_cannot_be_written_stops_the_work(clinic):
    what = offer()
    clinic.approve(what)
    warrant = clinic.find(what.reference)

    def full(_):
        raise StoreError("no room")

    warrant.warrants._record = full
    with pytest.raises(StoreError, match="no room"):
        warrant.allow(DESCRIBE, text(warrant.approval.inquiry))
    with pytest.raises(StoreError, match="no room"):
        warrant.warrants.find("other@" + "0" * 64)


def test_other_packages_than_approved(clinic):
    what = offer()
    clinic.approve(what)
    clinic.wheels = "b" * 64
    with pytest.raises(NotApproved, match="packages at this site are others"):
        clinic.find(what.reference)
    clinic.approve(what, Terms(any_wheels=True))
    clinic.find(what.reference)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *(
            (name, how)
            for name in ("approvals", "approvers", "dataset")
            for how in ("cut", "garbage", "changed", "writable")
        ),
        *(("clinic", how) for how in ("cut", "garbage", "changed", "writable")),
    ],
)
def test_a_file_that_somebody_changed_is_named_to_the_staff_alone(clinic, name, how):
    what = offer()
    clinic.approve(what)
    path = {
        "approvals": clinic.approvals.path(what.reference),
        "approvers": clinic.path / FILE,
        "dataset": clinic.datasets.path(DATASET),
        "clinic": clinic.path / "clinic.yaml",
    }[name]
    content = path.read_bytes()
    if how == "writable":
        path.chmod(0o666)
    else:
        cut, other = content[: len(content) // 4], content.replace(b"o", b"0", 3)
        path.write_bytes({"cut": cut, "garbage": b"\xff\x00", "changed": other}[how])
    with pytest.raises(NotApproved) as refused:
        clinic.find(what.reference)
    assert str(path) not in str(refused.value)
    assert path.name in clinic.events[-1].reason


def test_only_what_is_called_by_its_digest(clinic):
    what = offer()
    clinic.approve(what)
    for name in ("wards-1", "", f"wards-1@{what.digest[:16]}", "../../etc/passwd", f"other@{what.digest}"):
        with pytest.raises(NotApproved):
            clinic.find(name)
    with pytest.raises(NotApproved, match="fedmed clinic approve wards-1"):
        clinic.find(offer("rounds=11").reference)
    assert "changed it since" in clinic.events[-1].reason
    assert json.dumps([event.as_json() for event in clinic.events])


def test_a_later_proposal_within_the_ranges_needs_no_new_approval(clinic):
    ranges = (("learning_rate", 0.05, 0.2), ("epochs", 1.0, 3.0))
    clinic.approve(offer(), Terms(ranges=ranges))
    for changes in (("training.learning_rate=0.2",), ("training.epochs=3", "training.learning_rate=0.05")):
        later = offer(*changes)
        warrant = clinic.find(later.reference, later)
        assert warrant.scenario == later.proposal.scenario
        rate = later.proposal.scenario.training.learning_rate
        said = {**warrant.approval.order, "learning_rate": rate, "training": later.proposal.scenario.training.model_dump()}
        warrant.allow("train", text(json.dumps(said)))
        with pytest.raises(NotApproved, match="fedmed clinic approve"):
            clinic.find(later.reference)
    for change in ("training.learning_rate=0.21", "training.momentum=0.5", "rounds=11", "seed=8", "training={steps: 2}"):
        later = offer(change)
        with pytest.raises(NotApproved, match="fedmed clinic approve"):
            clinic.find(later.reference, later)
    another = offer("training.learning_rate=0.2")
    with pytest.raises(NotApproved, match="fedmed clinic approve"):
        clinic.find(offer("rounds=11").reference, another)
    clinic.approvals.keep(clinic.approvals.the_one("wards-1").taken_back(clinic.clock.unix()))
    with pytest.raises(NotApproved):
        clinic.find(another.reference, another)
