from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedmed.edge import holding

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from pathlib import Path
from fedmed.edge.holding import give_back, hold_little

def held_mb():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}["Private_Dirty"] / 1000

assert hold_little()
blocks = [bytes([1]) * (1 << 20) for _ in range(64)]
above = bytes([1]) * (1 << 20)  # what lies above them keeps the heap from shrinking by itself
full = held_mb()
del blocks
freed = held_mb()
assert give_back()
print(full, freed, held_mb())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own calls")
def test_what_lies_free_goes_back():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    full, freed, given_back = map(float, done.stdout.split())
    assert full - given_back > 50
    assert freed >= given_back


def test_without_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(holding, "_libc", lambda name: None)
    assert (holding.hold_little(), holding.give_back()) == (False, False)
