"""Where a clinic's commands work: one option, the same for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

At = Annotated[Path, typer.Option("--at", metavar="FOLDER", envvar="FEDMED_CLINIC", help="The clinic's folder.")]
FOLDER = Path("fedmed-clinic")
