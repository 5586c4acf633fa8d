"""The form that all benchmarks share: rows with a bar, the machine and its load; and where the data is found."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

MISSING_DATA = 3

Row = dict[str, object]


def data_root() -> Path:
    """Folder of all data sets: `$FEDMED_DATA`, or `shared/data` beside the checkout. Ends with exit code 3 without it."""
    root = os.environ.get("FEDMED_DATA")
    base = Path(root) if root else Path(__file__).resolve().parents[2] / "shared" / "data"
    need(base, "the data sets that docs/researcher.md lists")
    return base


def need(path: Path, what: str) -> None:
    """End with exit code 3 and a message where `path` is missing."""
    if not path.exists():
        print(f"{path} is missing: put {what} there, or name another data folder in FEDMED_DATA.", file=sys.stderr)
        raise SystemExit(MISSING_DATA)


def make_row(name: str, value: float, unit: str, bar: str = "", holds: bool | None = None) -> Row:
    """One line of the report; `holds` is None where nothing is demanded."""
    return {
        "name": name,
        "value": value if isinstance(value, int) else float(f"{value:.4g}"),
        "unit": unit,
        "bar": bar,
        "holds": holds,
    }


def show(bench: str, rows: list[Row], as_json: bool) -> None:
    """Print the report: a table, or the JSON that all benchmarks share."""
    if as_json:
        print(json.dumps({"bench": bench, "machine": machine(), "load": os.getloadavg()[0], "rows": rows}, indent=1))
        return
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        verdict = "" if row["holds"] is None else "holds" if row["holds"] else "MISSED"
        print(f"{row['name']:<{width}}  {row['value']:>9}  {row['unit']:<22}  {row['bar']:<14}  {verdict}".rstrip())


def machine() -> str:
    """The machine in words: processor, cores, system, Python."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
