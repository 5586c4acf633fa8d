"""The device tier: every figure of it, part by part; or one part.

    scripts/bench edge [--only agent,receive,...] [--json]

receive    C-STORE of 675 objects of half a megabyte, beside DCMTK's storescp and its fsyncs
agent      image received to result on the disk, int8 ResNet-18 at 224 x 224: what the agent adds, step by step
serving    ONNX Runtime against eager PyTorch; what int8 loses on real data
spool      taking in, 86,400 images with twenty kills, draining a link, beside SQLite itself
hub        objects up over mutual TLS, heartbeats of fifty devices
results    DICOM SR and SEG: to make, to send
releases   bad releases of each kind on twelve devices; heartbeats of a good one
placement  decisions with a hundred nodes; how long a dead node's tasks are nowhere
archive    studies to the clinic's archive and back, beside tar and openssl
elsewhere  an image that another device of the clinic looks at; a helper that dies with one
volumes    a series from its last image to its result, beside training's own reading
memory     what an agent at rest holds, with and without a model
ladder     what choosing a precision takes
offline    86,400 images without the hub, kills, then a slow line that is cut: what is lost or twice, how fast it leaves
tiers      three clinics with four devices each: equal to flat, and kills

Each is a process of its own, one after the other, so that none warms up or slows down another. What each compares with, and
how, stands at the top of its file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from form import Row, show

PARTS = (
    "receive",
    "agent",
    "serving",
    "spool",
    "hub",
    "results",
    "releases",
    "placement",
    "archive",
    "elsewhere",
    "volumes",
    "memory",
    "ladder",
    "offline",
    "tiers",
)


def measured(part: str) -> list[Row]:
    """A part's rows. Raises SystemExit where it fails."""
    sys.stderr.write(f"{part} ...\n")
    command = [sys.executable, str(Path(__file__).with_name(f"edge_{part}.py")), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"edge_{part} ended with {done.returncode}")
    said: dict[str, Any] = json.loads(done.stdout)
    return [{**row, "name": f"{part}: {row['name']}"} for row in said["rows"]]


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"{', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    show("edge", [row for part in parts for row in measured(part)], options.json)


if __name__ == "__main__":
    main()
