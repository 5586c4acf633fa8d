"""What all tests share: the real data where it is there, and, in CI, the rule that nothing is skipped in silence."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import fedmed.hub.tls  # noqa: F401, before anything imports gRPC, which is told once what it may shake hands with

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores: threads of each would only wait
settings.register_profile("untimed", settings.default, deadline=None)  # how long an example takes is the machine's affair
settings.register_profile("suite", settings.get_profile("untimed"), max_examples=50)  # at night the hundred of "untimed"
settings.load_profile("suite")
ALLOWED_SKIPS = ("GPU",)
LONG = ("tests/system/", "tests/faults/", "tests/flower/test_ray", "tests/flower/test_apphost", "tests/attacks/")


def data_folder() -> Path | None:
    """The real data sets: FEDMED_DATA, or `shared/data` beside the checkout."""
    named = os.environ.get("FEDMED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


def pytest_configure(config: pytest.Config) -> None:
    """Tables are as wide as they are for a pipe: pytest-xdist says how wide its own terminal is, to all that it starts."""
    os.environ.pop("COLUMNS", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, so that none of them is alone at the end while other cores rest."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data sets; without them the test is skipped by name."""
    folder = data_folder()
    if folder is None:
        pytest.skip("the real data sets are not here: set FEDMED_DATA (docs/researcher.md says where they are published)")
    return folder


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With FEDMED_NO_SKIPS, a test that was skipped for anything but a missing GPU fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("FEDMED_NO_SKIPS") or reporter is None:
        return
    reasons = [str(report.longrepr[2]) for report in reporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    silent = [reason for reason in reasons if not any(allowed in reason for allowed in ALLOWED_SKIPS)]
    if silent and exitstatus == 0:
        reporter.write_line(f"FEDMED_NO_SKIPS: skipped and must not be: {'; '.join(sorted(set(silent)))}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB; where this user may not mount one, a folder in which no file may be larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, check=False)
    if mounted.returncode == 0:
        yield disk
        subprocess.run(["umount", disk], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    yield disk
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny federation's scenario file and its cases."""
    from benchmarks import killing

    folder = tmp_path_factory.mktemp("inputs")
    killing.write_inputs(folder)
    return folder


@pytest.fixture(scope="session")
def simulated(inputs: Path) -> Callable[..., dict[str, Any]]:
    """Runs the tiny federation in this process; its site processes start from a server that has torch already."""
    from fedmed.config.loading import load
    from fedmed.flower import lanes
    from fedmed.simulate import engines
    from fedmed.simulate.run import Request, simulate

    forkserver._forkserver._stop()  # another room's tests may have started one that has not
    lanes.warm_up(engines.CLIENT)

    def run(out: Path, *overrides: str, resume: bool = False, data: Path = inputs) -> dict[str, Any]:
        return simulate(Request(load(inputs / "tiny.yaml", overrides), data, out, resume))

    return run
