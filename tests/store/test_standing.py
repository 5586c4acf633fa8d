from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, StoreError
from fedmed.store.standing import STATUS, is_serving, read_status, serving, write_status

HOLD = """
import sys
from pathlib import Path
from fedmed.store.standing import serving
with serving(Path(sys.argv[1]), "it"):
    print("up", flush=True)
    sys.stdin.read()
"""


def test_one_service_a_folder_and_its_end_frees_it_however_it_comes(tmp_path: Path):
    assert not is_serving(tmp_path)
    held = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert held.stdout is not None
    assert held.stdin is not None
    assert held.stdout.readline() == b"up\n"
    assert is_serving(tmp_path)
    with pytest.raises(ConfigError, match="up already"), serving(tmp_path, "it"):
        pass
    held.kill()
    held.wait()
    held.stdin.close()
    held.stdout.close()
    assert not is_serving(tmp_path)
    with serving(tmp_path, "it"):
        assert is_serving(tmp_path)


def test_what_a_service_says_is_read_as_it_was_said(tmp_path: Path):
    assert read_status(tmp_path) == {}
    write_status(tmp_path, {"state": "up", "runs": [1, None]})
    assert read_status(tmp_path) == {"state": "up", "runs": [1, None]}
    (tmp_path / STATUS).write_bytes(b"{half")
    with pytest.raises(StoreError, match="cannot be read"):
        read_status(tmp_path)


def test_a_full_disk_is_said(tmp_path: Path, small_disk: Path):
    with pytest.raises(StoreError, match="make room"):
        write_status(small_disk, {"text": "x" * 3_000_000})
