"""The device's role: the agent of one folder, until a signal. `python agent.py FOLDER`; `fedmed edge up` is the same."""

from __future__ import annotations

import sys
from pathlib import Path

from fedmed.cli.serving import edge_up

if __name__ == "__main__":
    edge_up(Path(sys.argv[1] if len(sys.argv) > 1 else "/var/lib/fedmed-edge"), as_json=True)
