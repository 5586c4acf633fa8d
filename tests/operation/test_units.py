from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, MissingPart
from fedmed.operation.draining import DRAIN_S
from fedmed.operation.health import STALLED_S

UNITS = Path(__file__).resolve().parents[2] / "packaging" / "systemd"
CENTER, CLINIC, HUB, EDGE = (f"fedmed-{role}.service" for role in ("center", "clinic", "hub", "edge"))
OWN_UID = "fedmed-clinic.own-uid.conf"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH")


def settings(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def root(tmp_path) -> Path:
    """A machine with the units installed, for `systemd-analyze --root`; systemd itself does not run."""
    units, programs = tmp_path / "etc/systemd/system", tmp_path / "opt/fedmed/bin"
    for folder in (units, programs, tmp_path / "bin"):
        folder.mkdir(parents=True)
    for name in (CENTER, CLINIC, HUB, EDGE):
        shutil.copy(UNITS / name, units)
    for program in (programs / "fedmed", tmp_path / "bin/kill"):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    for name in ("network-online", "time-sync", "multi-user", "basic", "sysinit", "shutdown"):
        (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\n")
    return tmp_path


def analysed(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", f"--root={root}", "--no-pager", *arguments], capture_output=True, text=True, timeout=60
    )


@needs_systemd
@pytest.mark.parametrize("name", [CENTER, CLINIC, HUB, EDGE])
def test_systemd_takes_the_units_without_a_word(root, name):
    done = analysed(root, "verify", name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_systemd_would_name_a_fault(root):
    unit = root / "etc/systemd/system" / CENTER
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSystem=quite"))
    assert "protect system" in analysed(root, "verify", CENTER).stderr


@needs_systemd
def test_systemd_takes_the_drop_in(root):
    folder = root / "etc/systemd/system" / f"{CLINIC}.d"
    folder.mkdir()
    shutil.copy(UNITS / OWN_UID, folder / "own-uid.conf")
    done = analysed(root, "verify", CLINIC)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize(("name", "most"), [(CENTER, 1.7), (CLINIC, 3.4), (HUB, 1.7), (EDGE, 2.2)])
def test_what_an_intruder_could_reach(root, name, most):
    done = analysed(root, "security", "--offline=yes", name)
    [level] = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert float(level) <= most, done.stdout


@pytest.mark.parametrize("name", [CENTER, CLINIC, EDGE])
def test_units_and_services_agree(name):
    said = settings(name)
    one = {key: values[-1] for key, values in said.items()}
    assert (one["Type"], one["ProtectSystem"], one["NoNewPrivileges"]) == ("notify", "strict", "yes")
    assert float(one["TimeoutStopSec"]) > DRAIN_S
    assert float(one["WatchdogSec"]) >= STALLED_S
    assert one["RestartPreventExitStatus"].split() == [str(ConfigError.exit_code), str(MissingPart.exit_code)]
    role = name.removeprefix("fedmed-").removesuffix(".service")
    assert one["ExecStart"] == f"/opt/fedmed/bin/fedmed {role} up --at /var/lib/{one['StateDirectory']}"
    assert one["User"] == one["StateDirectory"] == f"fedmed-{role}"
    assert f"u {one['User']} " in (UNITS / "fedmed.sysusers").read_text()
    assert one["LoadCredentialEncrypted"].split(":")[0] in ("fedmed-models", "fedmed-keystore", "fedmed-spool")


def test_the_hub_runs_as_the_clinic_whose_audit_log_it_writes():
    one, clinic = settings(HUB), settings(CLINIC)
    assert one["ExecStart"] == [f"/opt/fedmed/bin/fedmed clinic hub up --at /var/lib/{one['StateDirectory'][0]}"]
    assert (one["Type"], one["User"], one["StateDirectory"]) == (["notify"], clinic["User"], clinic["StateDirectory"])
    assert one["RestartPreventExitStatus"] == clinic["RestartPreventExitStatus"]
    assert float(one["WatchdogSec"][0]) >= STALLED_S


def test_the_app_of_a_clinic_can_be_confined():
    one = settings(CLINIC)
    assert set(one["RestrictNamespaces"][0].split()) == {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}
    assert "@mount" in one["SystemCallFilter"][0].split()
    assert not one.keys() & {"ProtectKernelTunables", "ProtectControlGroups", "ProtectProc", "MemoryDenyWriteExecute"}
    assert {"CAP_SETUID", "CAP_SETGID"} <= set(settings(OWN_UID)["CapabilityBoundingSet"][-1].split())
