"""From a hospital's DICOM to training tensors, every figure in one report.

    scripts/bench dicom [--json] [--quick]

About fifteen minutes on two cores. The parts are benchmarks of their own: dicom_peers (MONAI and SimpleITK on equal work),
dicom_codecs (decoders and the interpreter's lock), kernels (the fused pass against memory speed; GPU rows where there is a
GPU), cache (loading finished samples), deidentify. `--quick` leaves out the peers' repeated runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from form import Row, show

HERE = Path(__file__).parent
PARTS: dict[str, tuple[str, ...]] = {"dicom_peers": (), "dicom_codecs": (), "kernels": (), "cache": (), "deidentify": ()}
QUICK = {"dicom_peers": ("--runs", "2")}


def part(name: str, options: tuple[str, ...]) -> list[Row]:
    """The rows of another benchmark, run in a process of its own."""
    sys.stderr.write(f"dicom: {name}\n")
    command = [sys.executable, str(HERE / f"{name}.py"), "--json", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    rows: list[Row] = json.loads(done.stdout)["rows"]
    return rows


def main() -> None:
    """Read the options, run all parts, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rows: list[Row] = []
    for name, own in PARTS.items():
        rows += part(name, QUICK.get(name, own) if options.quick else own)
    show("dicom", rows, options.json)


if __name__ == "__main__":
    main()
