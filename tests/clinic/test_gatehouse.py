from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.clinic.folder import CERTIFICATE_FILE, KEYS_FILE, ClinicFolder
from fedmed.clinic.gatehouse import Gatehouse, Subject
from fedmed.clock import SystemClock
from fedmed.config.loading import parse
from fedmed.identity.authority import DevelopmentAuthority
from fedmed.identity.issuing import certificate_pem
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import certificate_request, read_request
from fedmed.outbound.description import Sizes
from tests.clinic.staff import SCENARIO, staffed
from tests.identity.parties import keys

GIVEN = b"\2" + bytes(32)
PRIVATE = "privacy.differential_privacy={mode: clinic, epsilon: 8, delta: 1e-5}"
OTHERS = ("federation.gate=off", "task.class_weights=none")


def joined(place: Path, own: MemberKeys) -> ClinicFolder:
    folder = staffed(place).folder
    own.save(folder.path / KEYS_FILE)
    request = read_request(certificate_request(own, "north"))
    issued = DevelopmentAuthority.generate(SystemClock()).issue(request, 1)
    (folder.path / CERTIFICATE_FILE).write_bytes(certificate_pem(issued))
    return folder


def seeds(folder: ClinicFolder, *overrides: str) -> list[bytes]:
    """Of one vector, asked for twice by one process and once by the next."""
    found = []
    for times in (2, 1):
        house = Gatehouse(folder, print)
        gate = house.gate(Subject("wards", "0" * 64, Sizes(60, 10), "patient"), "run", parse(SCENARIO, "s", overrides))
        found += [gate._dither(GIVEN) for _ in range(times)]
        house.close()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> ClinicFolder:
    return joined(tmp_path / "one", keys(1))


def test_a_clinic_rounds_the_same_the_same_again_after_a_restart_too(folder):
    assert len(set(seeds(folder))) == 1


def test_no_other_clinic_rounds_alike(folder, tmp_path):
    assert not {*seeds(folder)} & {*seeds(joined(tmp_path / "other", keys(2)))}


def test_under_differential_privacy_every_vector_has_a_dither_of_its_own(folder):
    assert len(set(seeds(folder, PRIVATE, *OTHERS))) == 3
