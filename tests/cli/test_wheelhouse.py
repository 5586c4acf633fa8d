from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fedmed.operation.wheelhouse import SBOM
from tests.operation.test_wheelhouse import wheel


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "wheelhouse"
    made.mkdir()
    wheel(made, "one_part")
    wheel(made, "whole")
    (made / SBOM).write_text("{}")
    return made


def test_on_the_command_line(folder, tmp_path, said):
    code, out, _ = said("wheelhouse", "key", tmp_path / "key")
    assert code == 0
    assert said("wheelhouse", "requirements", folder)[0] == 0
    assert said("wheelhouse", "sign", folder, "--key", tmp_path / "key")[0] == 0
    code, told, _ = said("wheelhouse", "verify", folder, "--key", out.strip(), "--json")
    assert (code, json.loads(told)["wheels"]) == (0, 2)
    shutil.copy(folder / SBOM, folder / "extra")
    code, _, err = said("wheelhouse", "verify", folder, "--key", out.strip())
    assert (code, "extra is not listed" in err) == (5, True)
    assert said("wheelhouse", "verify", folder, "--key", "ab")[0] == 2
