from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.config import catalogue
from fedmed.config.loading import load
from fedmed.errors import ConfigError, MissingPart


def test_the_shipped_folders_are_found():
    assert all(catalogue.shipped(kind).is_dir() for kind in ("simulations", "server", "clients"))


@pytest.mark.parametrize("name", sorted(catalogue.builtin_scenarios()))
def test_every_built_in_scenario_is_valid(name):
    assert load(catalogue.find(name)).name == name


def test_a_file_is_found_by_its_path(tmp_path: Path):
    (tmp_path / "my.yaml").write_text("")
    assert catalogue.find(str(tmp_path / "my.yaml")) == tmp_path / "my.yaml"


def test_an_unknown_name_lists_the_names_known():
    with pytest.raises(ConfigError, match=r"got the scenario 'dem' \(did you mean demo\?\).*built-in name \(.*demo"):
        catalogue.find("dem")


def test_a_folder_beside_an_installed_package_is_not_taken(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(catalogue, "_PACKAGE", tmp_path / "site-packages" / "fedmed")
    (tmp_path / "site-packages" / "server").mkdir(parents=True)
    with pytest.raises(MissingPart, match="install fedmed again"):
        catalogue.shipped("server")
    (tmp_path / "site-packages" / "fedmed" / "shipped" / "server").mkdir(parents=True)
    assert catalogue.shipped("server").parent.name == "shipped"
