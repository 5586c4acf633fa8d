from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedmed.errors import MissingPart
from fedmed.flower.apps import AppRef, add_root, load

APP = """
from flwr.app import Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
app = ClientApp()
@app.query()
def query(message, context):
    return Message(RecordDict({"metrics": MetricRecord({"whose": WHOSE})}), reply_to=message)
"""
OWNER = """
import sys
from pathlib import Path
from flwr.app import Message, RecordDict
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import InProcessGrid
if __name__ == "__main__":
    for workers in (0, 1):
        with InProcessGrid(AppRef(Path(sys.argv[1]), "clients.app:app"), [{}], [1.0], workers) as grid:
            [reply] = grid.send_and_receive([Message(RecordDict(), 2, "query")], timeout=60)
            print(reply.error.reason if reply.has_error() else reply.content["metrics"]["whose"])
"""


def write_app(folder: Path, whose: int | None) -> Path:
    (folder / "clients").mkdir(parents=True)
    (folder / "clients" / "__init__.py").write_text("")
    if whose is not None:
        (folder / "clients" / "app.py").write_text(APP.replace("WHOSE", str(whose)))
    return folder


@pytest.mark.parametrize("theirs", [2, None], ids=["another app", "another package"])
@pytest.mark.parametrize("known", [False, True], ids=["root unknown", "root known"])
def test_the_app_is_the_roots_whatever_lies_in_the_working_folder(theirs, known, tmp_path):
    root, here = write_app(tmp_path / "root", 1), write_app(tmp_path / "here", theirs)
    (here / "owner.py").write_text(OWNER)
    path = os.pathsep.join([str(here), *([str(root)] if known else [])])
    done = subprocess.run(
        [sys.executable, "-m", "owner", root],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=here,
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
    )
    assert done.stdout.split("\n")[:2] == ["1", "1"], done


def test_a_root_comes_first_however_often_it_is_added(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["/first", str(tmp_path), "/last"])
    for _ in range(2):
        add_root(AppRef(tmp_path, "clients.app:app"))
        assert sys.path == [str(tmp_path), "/first", "/last"]


@pytest.mark.parametrize("name", ["no_such_app_at_all:app", "obedient:missing", "obedient"])
def test_an_app_that_is_not_there_is_named(name):
    with pytest.raises(MissingPart, match=f"app '{name}' cannot be loaded from .*apps"):
        load(AppRef(Path(__file__).parent / "apps", name))
