from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedmed.confinement import landlock
from fedmed.confinement.cell import TODO, Cell
from fedmed.confinement.means import lacking
from fedmed.errors import MissingPart

ROOT = Path(__file__).resolve().parents[2]
NOBODY = ["unshare", "-U", "--map-user=1234"] if os.geteuid() == 0 else []
ASK = """
import json
from fedmed.confinement.cell import Cell
from fedmed.confinement.means import lacking
from tests.attacks.confined import without_namespaces
without_namespaces()
print(json.dumps(lacking(Cell())))
"""


def test_a_process_is_in_its_cell_before_anything_that_makes_threads_is_imported():
    program = (
        "import sys, threading\n"
        "import fedmed.confinement.means, fedmed.confinement.entering\n"
        "print(sorted({'numpy', 'torch', 'flwr', 'cryptography'} & set(sys.modules)), threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[] 1\n"


def test_what_lacks_has_a_name_and_a_reason():
    lacks = lacking(Cell())
    assert set(lacks) <= set(TODO)
    try:
        has_landlock = landlock.abi() >= landlock.NEEDED_ABI
    except OSError:
        has_landlock = False
    assert ("landlock" in lacks) == (not has_landlock)


def test_where_namespaces_are_refused_that_is_found_out():
    done = subprocess.run(
        [*NOBODY, sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    lacks = json.loads(done.stdout)
    assert "unshare" in lacks["namespaces"]
    assert "makes no user namespace" in lacks["user"]
    with pytest.raises(MissingPart, match="max_user_namespaces"):
        Cell().refuse(lacks)


def test_a_data_set_that_the_apps_user_may_not_read_is_named(tmp_path):
    (tmp_path / "data").mkdir(mode=0)
    with pytest.raises(MissingPart, match=r"user \d+ may not read .*data; give it the right to"):
        lacking(Cell((tmp_path / "data",)))
    (tmp_path / "data").chmod(0o755)
    assert "fault" not in lacking(Cell((tmp_path / "data",)))
