"""A small federation of tabular cases, as a user would lay it out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SCENARIO = """\
name: bedside
title: Three wards
rounds: 2
data:
  reader: csv
  folder: wards
  normalise: site
  options: {site: ward}
task: {name: tabular}
training: {learning_rate: 0.1, batch_size: 16, epochs: 1}
evaluation: {baselines: false}
engine: {workers: 0, device: cpu}
"""


@pytest.fixture(scope="session")
def wards(tmp_path_factory) -> Path:
    """A folder with a scenario file and its data."""
    folder = tmp_path_factory.mktemp("wards")
    random = np.random.default_rng(1)
    lines = ["ward,age,pressure,label"]
    for ward in ("east", "north", "west"):
        for _ in range(60):
            age, pressure = random.normal(60, 9), random.normal(130, 15)
            lines.append(f"{ward},{age:.1f},{pressure:.1f},{int(age + pressure / 3 + random.normal(0, 9) > 103)}")
    (folder / "wards").mkdir()
    (folder / "wards" / "cases.csv").write_text("\n".join(lines) + "\n")
    (folder / "bedside.yaml").write_text(SCENARIO)
    return folder


@pytest.fixture(scope="session")
def command() -> list[str]:
    return [sys.executable, "-W", "error::UserWarning", "-m", "fedmed"]


@pytest.fixture(scope="session")
def fedmed() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in this process, as on a wide screen."""
    from tests.cli.spoken import spoken

    return lambda *arguments: subprocess.CompletedProcess(arguments, *spoken(*arguments, columns=200))


@pytest.fixture(scope="session")
def apart(command) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command as a user does, in a process of its own without a terminal."""

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if k != "FEDMED_DATA"} | {"COLUMNS": "200"}
        return subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, timeout=120, cwd=cwd, env=environment
        )

    return run


@pytest.fixture(scope="session")
def spoken() -> Callable[..., tuple[int, str, str]]:
    """As `said`, for what several tests share."""
    from tests.cli.spoken import spoken

    return spoken


@pytest.fixture
def said(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: exit code, standard output, standard error."""
    from fedmed.cli import main

    for name in ("FEDMED_DATA", "COLUMNS"):  # pytest-xdist sets the latter
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fedmed", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def place(tmp_path, said):
    from tests.cli.place import placed

    with placed(tmp_path, said) as found:
        yield found
