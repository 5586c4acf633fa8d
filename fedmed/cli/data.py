"""`fedmed data`: from a hospital's DICOM to training tensors."""

from __future__ import annotations

import typer

data = typer.Typer(help="Look at, de-identify and prepare a hospital's images.", no_args_is_help=True)
