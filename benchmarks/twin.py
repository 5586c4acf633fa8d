"""The twin: what it costs to run a federation in virtual time.

python -m benchmarks.twin [--json]
"""

from __future__ import annotations

import sys

from benchmarks import twin_grid, twin_time
from benchmarks.form import show


def main() -> None:
    """Measure and report."""
    show("twin", [*twin_time.rows(), *twin_grid.rows()], "--json" in sys.argv)


if __name__ == "__main__":
    main()
