"""`fedmed data`: from a hospital's DICOM to training tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.quarantine import Json, quarantine

data = typer.Typer(help="Look at, de-identify and prepare a hospital's images.", no_args_is_help=True)
data.add_typer(quarantine, name="quarantine")


@data.command()
def scan(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder, a zip archive or one file.")],
    quarantine: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="FEDMED_QUARANTINE", help="Keep a record there of what cannot be trusted."),
    ] = None,
    pixels: Annotated[bool, typer.Option(help="Decode every image, and digest it; --no-pixels reads headers alone.")] = True,
    workers: Annotated[
        int,
        typer.Option(min=0, max=256, help="Processes that decode: a file that kills one costs itself alone. 0: this one."),
    ] = 2,
    as_json: Json = False,
) -> None:
    """Say of every file and series below DIR whether it can be trusted, and if not, why. Changes nothing there."""
    from fedmed.cli.scan import Options, run

    run(Options(folder, quarantine, pixels, workers, as_json))
