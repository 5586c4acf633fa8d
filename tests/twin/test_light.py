from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "flwr", "ray", "cryptography", "pydicom", "matplotlib"}


def test_virtual_time_needs_nothing_heavy():
    program = "import sys, fedmed.twin.events, fedmed.twin.columns; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "fedmed.federation.round" in loaded
    assert not HEAVY & set(loaded)
