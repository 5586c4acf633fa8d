"""`fedmed clinic archive`: the clinic's old studies, elsewhere; the work is in `archiving`."""

from __future__ import annotations

from typing import Annotated

import typer

from fedmed.cli.places import FOLDER, At
from fedmed.cli.quarantine import Json

archive = typer.Typer(help="The archive that this clinic's hub moves old studies to.", no_args_is_help=True)


@archive.command("list")
def list_studies(at: At = FOLDER, as_json: Json = False) -> None:
    """List the studies in the archive, the oldest first, and where each is."""
    from fedmed.cli.archiving import list_studies as work

    work(at, as_json)


@archive.command()
def status(at: At = FOLDER, as_json: Json = False) -> None:
    """Show how much is there, how many studies wait to go, and why."""
    from fedmed.cli.archiving import status as work

    work(at, as_json)


@archive.command()
def recall(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="Its pseudonymous UID, or the beginning of its pack's name; see list.")
    ],
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Put a study back to where it was; the archive keeps its copy, and it goes again when it is old again."""
    from fedmed.cli.archiving import recall as work

    work(at, study, as_json)


@archive.command()
def verify(at: At = FOLDER, as_json: Json = False) -> None:
    """Read everything in the archive back and prove it; ends with 5 where something is missing or altered."""
    from fedmed.cli.archiving import verify as work

    work(at, as_json)
