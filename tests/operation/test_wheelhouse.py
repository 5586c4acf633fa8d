from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, StoreError
from fedmed.identity.files import KeyRefused
from fedmed.identity.releases import ReleaseKey
from fedmed.operation.wheelhouse import REQUIREMENTS, SBOM, SIGNATURE, SUMS, WheelhouseRefused, check, requirements, sign

KEY = ReleaseKey.generate()
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "wheelhouse"


def wheel(folder: Path, name: str, needs: str = "") -> None:
    """A real wheel of one module."""
    told = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"NAME = {name!r}\n")
        archive.writestr(f"{told}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
        archive.writestr(f"{told}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{told}/RECORD", "")


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "wheelhouse"
    made.mkdir()
    wheel(made, "one_part")
    wheel(made, "whole", "Requires-Dist: one-part\n")
    (made / REQUIREMENTS).write_text(requirements(made))
    (made / SBOM).write_text("{}")
    sign(made, KEY)
    return made


def test_what_was_signed_is_verified(folder):
    found = check(folder, KEY.public)
    assert found.wheels == 2
    assert found.bytes == sum(path.stat().st_size for path in folder.iterdir() if path.name not in (SUMS, SIGNATURE))
    told = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    ("name", "how", "says"),
    [
        ("whole-1.0-py3-none-any.whl", "alter", "was altered"),
        ("whole-1.0-py3-none-any.whl", "remove", "is missing"),
        ("evil-1.0-py3-none-any.whl", "add", "is not listed"),
        (SBOM, "alter", "was altered"),
        (SUMS, "alter", "not signed with this key"),
        (SIGNATURE, "alter", "is no signature"),
        ("folder", "folder", "no plain file"),
    ],
)
def test_whatever_is_altered_is_named(folder, name, how, says):
    path = folder / name
    if how == "remove":
        path.unlink()
    elif how == "folder":
        path.mkdir()
    else:
        path.write_bytes((path.read_bytes() if path.exists() else b"") + b"x\n")
    with pytest.raises(WheelhouseRefused, match=says) as refused:
        check(folder, KEY.public)
    assert name in str(refused.value)


def test_another_key_and_no_wheelhouse(folder, tmp_path):
    with pytest.raises(WheelhouseRefused, match="not signed with this key"):
        check(folder, ReleaseKey.generate().public)
    with pytest.raises(StoreError, match="cannot be read"):
        check(tmp_path / "none", KEY.public)
    (folder / SBOM).unlink()
    with pytest.raises(ConfigError, match="lacks"):
        sign(folder, KEY)
    with pytest.raises(ConfigError, match="no wheels"):
        requirements(_empty(tmp_path))
    (folder / "odd.whl").touch()
    with pytest.raises(ConfigError, match="no name of a wheel"):
        requirements(folder)


def _empty(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def test_pip_installs_from_it_without_a_network(folder, tmp_path):
    arguments = ("install", "--quiet", "--no-index", "--find-links", folder, "--require-hashes", "-r", folder / REQUIREMENTS)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, "--target", tmp_path / "site"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert {"one_part.py", "whole.py"} <= {path.name for path in (tmp_path / "site").iterdir()}


def test_the_sbom_names_every_wheel(folder, tmp_path):
    program = Path(sys.executable).with_name("cyclonedx-py")
    if not program.exists():
        pytest.skip("cyclonedx-py is not installed: the extra dev has it")
    [line] = [line for line in SCRIPT.read_text().splitlines() if "cyclonedx-py" in line]
    options = line.split("cyclonedx-py ")[1].split(" -o ")[0].split()
    command = [program, *options, "-o", tmp_path / "sbom", folder / REQUIREMENTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "sbom").read_text())
    assert {(part["name"], part["version"]) for part in found["components"]} == {("one-part", "1.0"), ("whole", "1.0")}
    digests = {
        each["content"]
        for part in found["components"]
        for ref in part["externalReferences"]
        for each in ref.get("hashes", ())
    }
    assert len(digests) == 2


def test_a_releases_key(tmp_path):
    KEY.save(tmp_path / "key")
    assert ReleaseKey.load(tmp_path / "key").public == KEY.public
    with pytest.raises(KeyRefused, match="can be read there"):
        ReleaseKey.load(tmp_path / "none")
    (tmp_path / "empty").touch(0o600)
    with pytest.raises(KeyRefused, match="in PEM"):
        ReleaseKey.load(tmp_path / "empty")
