from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedmed.clock import SystemClock
from fedmed.config.loading import load
from fedmed.identity.authority import read_certificate
from fedmed.identity.member import MemberKeys, member_name
from fedmed.simulate import members
from fedmed.sites import prepared
from fedmed.sites.cases import Cases, Site

NAMES = ["north", "Zürich (Triemli)", "west"]


def site(name: str) -> Site:
    cases = Cases(np.eye(4, 3, dtype=np.float32), np.array([0, 1, 0, 1]), ("well", "ill"))
    return Site(name, cases, cases, cases)


def enrolled(inputs: Path, folder: Path, *overrides: str) -> Path:
    sites = folder / "run" / "sites"
    prepared.lay_out([site(name) for name in NAMES], sites)
    members.enrol(sites, NAMES, load(inputs / "tiny.yaml", overrides))
    return sites


def gate(sites: Path, number: int):
    return members.gate_of({"sites-folder": str(sites), "partition-id": number})


def test_every_site_is_certified_and_has_approved_every_other(inputs, tmp_path):
    sites = enrolled(inputs, tmp_path)
    authority = (sites / members.MEMBERS / members.AUTHORITY).read_bytes()
    found = [read_certificate(gate(sites, number).certificate, authority, SystemClock().unix()) for number in range(3)]
    assert [each.name for each in found] == [member_name(name) for name in NAMES]
    pins = json.loads((sites / members.MEMBERS / members.PINS).read_text())
    assert pins == {each.fingerprint.hex(): each.signing_public.hex() for each in found}


def test_keys_are_made_anew_for_each_run_and_only_their_owner_can_read_them(inputs, tmp_path):
    keys = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        file = enrolled(inputs, folder) / members.MEMBERS / "00000.keys"
        assert file.stat().st_mode & 0o077 == 0
        keys.append(MemberKeys.load(file).fingerprint)
    assert keys[0] != keys[1]


def test_a_gate_is_one_for_its_enrolment_and_another_after_a_new_one(inputs, tmp_path):
    sites = enrolled(inputs, tmp_path)
    assert gate(sites, 1) is gate(sites, 1)
    assert gate(sites, 1) is not gate(sites, 2)
    before = gate(sites, 1)
    assert gate(enrolled(inputs, tmp_path), 1) is not before


def test_the_rounding_repeats_for_a_seed_and_differs_between_sites_purposes_and_models(inputs, tmp_path):
    first, again = (enrolled(inputs, tmp_path / name) for name in ("first", "again"))
    other = enrolled(inputs, tmp_path / "other", "seed=43")

    def seeds(sites: Path) -> list[bytes]:
        return [gate(sites, number)._dither(what) for number in range(3) for what in (b"\1model", b"\2model", b"\1other")]

    assert seeds(first) == seeds(again)
    assert len({*seeds(first), *seeds(other)}) == 18
    assert {len(seed) for seed in seeds(first)} == {24}


@pytest.mark.parametrize(
    ("setting", "most", "carries", "modes"),
    [
        ("rounds=1", None, True, ("malicious",)),
        ("federation.max_update_norm=2.5", 2.5, True, ("malicious",)),
        ("federation.late=drop", None, False, ("malicious",)),
        ("privacy.secure_aggregation=hbc", None, True, ("hbc",)),
    ],
)
def test_what_the_scenario_says_is_what_the_staff_has_written_down(inputs, tmp_path, setting, most, carries, modes):
    here = gate(enrolled(inputs, tmp_path, setting), 0)
    policy = here._outbox._member.policy
    assert (here._rules.most_norm, here._rules.carries_late) == (most, carries)
    assert (policy.modes, policy.federation) == (modes, members.FEDERATION)


def test_flowers_runtime_tells_a_number_and_the_environment_the_folder(inputs, tmp_path, monkeypatch):
    sites = enrolled(inputs, tmp_path)
    monkeypatch.setenv("FEDMED_SITES", str(sites))
    assert members.gate_of({"partition-id": 2}) is gate(sites, 2)
