"""A center that wants more than was approved, and an intruder who writes files but holds no approver's key."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fedmed.clinic.approving import app_files
from fedmed.clinic.consenting import Consent
from fedmed.clinic.releasing import released, withdrawn
from fedmed.errors import ConfigError, NotApproved, ProtocolRefused
from fedmed.flower.keys import DESCRIBE
from fedmed.identity.approval import Signed
from fedmed.identity.approver import FILE, ApproverKey, Approvers
from fedmed.identity.files import KeyRefused
from fedmed.identity.proposal import App, Proposal, bundled, offered
from fedmed.wire import bundle
from fedmed.wire.canonical import canonical, digest
from tests.clinic.staff import APPROVER, DATASET, PLAIN, POLICY, WHEELS, Staffed, key, offer, staffed, text
from tests.identity.test_proposal import PROJECT


@pytest.fixture
def clinic(tmp_path) -> Staffed:
    return staffed(tmp_path)


def refused(clinic: Staffed, reference: str) -> str:
    """What the staff is told of a run that does not start."""
    with pytest.raises(NotApproved):
        clinic.find(reference)
    assert (clinic.events[-1].action, clinic.events[-1].outcome) == ("refuse.run", "refused")
    return clinic.events[-1].reason


def forged(clinic: Staffed, signed: Signed, **changed: object) -> None:
    """Write another body under the same signatures."""
    approval = signed.approval.model_copy(update=changed)
    clinic.approvals.keep(replace(signed, approval=approval))


@pytest.mark.parametrize(
    "change",
    ["rounds=1000", "training.learning_rate=10", "task.model=mlp", "privacy.least_sum=4", "purpose=marketing", "seed=8"],
)
def test_a_center_that_changes_the_scenario_after_approval(clinic, change):
    clinic.approve(offer())
    assert "the center has changed it since" in refused(clinic, offer(change).reference)


def test_a_center_that_names_the_approved_run_and_orders_another(clinic):
    what = offer()
    clinic.approve(what)
    warrant = clinic.find(what.reference)
    order = warrant.approval.order
    for key_, value in (
        ("learning_rate", 5.0),
        ("model", {**order["model"], "name": "mlp", "options": {"hidden": 4096}}),
        ("model", {**order["model"], "classes": 3}),
        ("training", {**order["training"], "steps": 1_000_000, "epochs": None}),
        ("training", {**order["training"], "metrics": {"patient_age": 200.0}}),
        ("augment", "xray"),
        ("round", 11),
        ("bins", None),
        ("bins", 65_536),
        ("frozen", ["*"]),
        ("device", "cuda"),
    ):
        with pytest.raises(NotApproved, match=key_):
            warrant.allow("train", text({**order, key_: value}))
        assert clinic.events[-1].outcome == "refused"
    for value in ({"masked": False}, {"features": "image"}, {"normalise": "federated"}, {"purpose": "all you have"}):
        with pytest.raises(NotApproved, match=next(iter(value))):
            warrant.allow(DESCRIBE, text({**warrant.approval.inquiry, **value}))
    assert not [event for event in clinic.events if event.action.startswith("access")]


def test_a_center_that_weakens_encryption(clinic):
    for weak in ("hbc", "off"):
        with pytest.raises(NotApproved, match=f"encryption {weak}"):
            clinic.approve(offer(f"privacy.secure_aggregation={weak}"))
    what = offer()
    clinic.approve(what)
    warrant = clinic.find(what.reference)
    for mode, members, least in (("hbc", 5, 3), ("off", 5, 3), ("malicious", 2, 2), ("malicious", 5, 2)):
        with pytest.raises(NotApproved, match="approved for run"):
            warrant.allow_epoch(mode, members, least)
    clinic.rules(least_members=5)
    assert "sums over 3 clinics" in refused(clinic, what.reference)
    clinic.rules(most_epsilon=1.0)
    assert "differential privacy: none" in refused(clinic, what.reference)


def test_an_approval_of_weak_encryption_does_not_outlive_stricter_rules(clinic):
    clinic.rules(encryption="off")
    what = offer("privacy.secure_aggregation=off")
    approval = clinic.draft(what, PLAIN, POLICY.model_copy(update={"encryption": "off"}))
    clinic.approvals.keep(Signed(approval).signed(APPROVER, clinic.key.sign(approval.message())))
    clinic.find(what.reference)
    clinic.rules(encryption="malicious")
    assert "this site takes part with malicious" in refused(clinic, what.reference)


def test_a_purpose_that_the_data_was_not_released_for(clinic):
    what = offer("purpose=marketing")
    clinic.approve(what)
    assert "not released for the purpose 'marketing'" in refused(clinic, what.reference)
    clinic.datasets.change(DATASET, lambda each: released(each, "marketing", "other", None, "x", clinic.clock.unix()))
    assert "not released" in refused(clinic, what.reference)


def test_an_approval_and_a_release_that_ended(clinic):
    what = offer()
    clinic.approve(what)
    clinic.clock.ahead_s = 91 * 86400.0
    assert "ended at" in refused(clinic, what.reference)
    clinic.clock.ahead_s = -2 * 86400.0
    assert "set the clock right" in refused(clinic, what.reference)
    clinic.clock.ahead_s = 0
    end = int(clinic.clock.unix()) + 60
    clinic.datasets.change(DATASET, lambda each: released(each, "research", None, end, "x", clinic.clock.unix()))
    clinic.find(what.reference)
    clinic.clock.ahead_s = 61
    assert "its release for research ended" in refused(clinic, what.reference)


def test_a_withdrawn_data_set(clinic):
    what = offer()
    clinic.approve(what)
    clinic.datasets.change(DATASET, lambda each: withdrawn(each, "Dr. Frey", "", clinic.clock.unix()))
    assert "withdrawn at" in refused(clinic, what.reference)


def test_somebody_elses_key(clinic):
    what = offer()
    approval = clinic.draft(what)
    clinic.approvals.keep(Signed(approval).signed(APPROVER, key().sign(approval.message())))
    assert f"is not what {APPROVER} signed" in refused(clinic, what.reference)
    clinic.approvals.keep(Signed(approval).signed("mallory", clinic.key.sign(approval.message())))
    assert "mallory may not approve here" in refused(clinic, what.reference)
    clinic.approvals.keep(Signed(approval))
    assert "0 of 1 approvals" in refused(clinic, what.reference)


@pytest.mark.parametrize(
    "changed",
    [
        {"expires": 4_000_000_000},
        {"app": "f" * 64},
        {"wheels": None},
        {"ranges": {"learning_rate": (0.0, 100.0)}},
        {"purpose": "marketing"},
        {"encryption": "off"},
        {"least_members": 4},
        {"epsilon": 100.0},
        {"described": "f" * 64},
        {"dataset": "other"},
        {"inquiry": {}},
    ],
)
def test_an_intruder_who_changes_an_approval(clinic, changed):
    what = offer()
    forged(clinic, clinic.approve(what), **changed)
    assert "signed" in refused(clinic, what.reference)


def test_an_approval_of_another_clinic(clinic):
    what = offer()
    approval = clinic.draft(what).model_copy(update={"clinic": "south"})
    clinic.approvals.keep(Signed(approval).signed(APPROVER, clinic.key.sign(approval.message())))
    assert "was approved for south of study" in refused(clinic, what.reference)


def test_an_intruder_who_puts_himself_on_the_list(clinic):
    what, mallory = offer(), key()
    clinic.approve(what)
    path = clinic.path / FILE
    said = json.loads(path.read_bytes())["approvers"]
    said["approvers"].append({"name": "mallory", "public": mallory.public.hex(), "by": APPROVER, "signature": "00" * 64})
    path.write_bytes(canonical({"approvers": said, "sha256": digest(said)}) + b"\n")
    assert "nobody on the list vouched for 'mallory'" in refused(clinic, what.reference)
    with pytest.raises(KeyRefused, match="vouched"):
        Approvers(path)
    path.unlink()
    assert "may not approve here" in refused(clinic, what.reference)


def test_nobody_vouches_for_himself(clinic):
    mallory = key()
    approvers = Approvers(clinic.path / FILE)
    for by, voucher in ((APPROVER, mallory), ("mallory", mallory), ("", mallory), (APPROVER, None)):
        with pytest.raises(KeyRefused, match="vouches"):
            approvers.add("mallory", mallory.public, by, voucher)
    assert list(Approvers(clinic.path / FILE)) == [APPROVER]


def test_the_data_set_is_registered_anew_under_the_same_name(clinic):
    """Other options or another folder are other data, though every file is as fedmed writes it."""
    what = offer()
    clinic.approve(what)
    clinic.datasets.change(DATASET, lambda each: each.model_copy(update={"folder": "/srv/other"}))
    assert "registered anew" in refused(clinic, what.reference)


def app(code: bytes, name: str = "own/app.py") -> bytes:
    return bundle.pack({"pyproject.toml": PROJECT, name: code})


def test_a_center_that_swaps_the_app(clinic):
    good, bad = app(b"app = 1\n"), app(b"app = 2\n")
    proposal = offer().proposal
    what = offered(Proposal(run="wards-1", scenario=proposal.scenario, app=bundled(good), fedmed="1"))
    consent = Consent(clinic.folder, WHEELS, lambda _: bad, clinic.record)
    with pytest.raises(ProtocolRefused, match="it was swapped"):
        consent.consider(what, clinic.datasets.get(DATASET), PLAIN)
    consent = Consent(clinic.folder, WHEELS, lambda _: good, clinic.record)
    found = consent.consider(what, clinic.datasets.get(DATASET), PLAIN)
    with pytest.raises(ConfigError, match="not the key of approver"):
        consent.sign(found, APPROVER, key(), Approvers(clinic.path / FILE))
    consent.sign(found, APPROVER, clinic.key, Approvers(clinic.path / FILE))
    warrant = clinic.find(what.reference)
    assert warrant.app_files()["own/app.py"] == b"app = 1\n"
    path = clinic.approvals.app_path(bundled(good).digest)
    for content in (bad, b"", good[:-1]):
        path.write_bytes(content)
        with pytest.raises(NotApproved, match="not the one that was approved"):
            warrant.app_files()
        assert str(path) in clinic.events[-1].reason
    path.unlink()
    with pytest.raises(NotApproved, match="cannot read"):
        warrant.app_files()


@pytest.mark.parametrize("name", ["fedmed/outbound/gate.py", "numpy/__init__.py", "json.py", "torch.py"])
def test_an_app_that_would_hide_installed_code(name):
    content = app(b"", name)
    with pytest.raises(ProtocolRefused, match="would hide"):
        app_files(bundled(content), content)


def test_an_app_without_a_client_is_refused_though_its_digest_is_right():
    content = bundle.pack({"own/app.py": b""})
    with pytest.raises(ProtocolRefused, match="must name its ClientApp"):
        app_files(App(kind="bundle", digest=bundle.sha256(content), bytes=len(content), entry="a:b"), content)


def test_a_stolen_key_file_is_of_no_use_without_its_passphrase(tmp_path):
    made = ApproverKey.generate()
    made.save(tmp_path / "key", "correct horse battery")
    assert ApproverKey.load(tmp_path / "key", "correct horse battery").public == made.public
    for guess in ("", "correct horse batterz"):
        with pytest.raises(KeyRefused, match="passphrase is not this key's"):
            ApproverKey.load(tmp_path / "key", guess)
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(KeyRefused, match="others can read"):
        ApproverKey.load(tmp_path / "key", "correct horse battery")
