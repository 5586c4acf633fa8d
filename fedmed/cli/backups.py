"""`fedmed center|clinic backup, restore, recipient, settle`: the same for both; the work is in `fedmed.cli.keeping`."""

# No `from __future__ import annotations`: typer looks up names of annotations in the module alone.

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.quarantine import Json

Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Holds the passphrase; asked for when absent.")
]


def add_to(app: typer.Typer, role: str, folder: Path, variable: str) -> None:
    """Add the commands to a role's own."""
    at_option = typer.Option("--at", metavar="FOLDER", envvar=variable, help=f"The {role}'s folder.")

    @app.command()
    def backup(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
        passphrase: Passphrase = None,
        to: Annotated[
            str | None,
            typer.Option("--to", metavar="RECIPIENT", help="Who can open it, in place of a passphrase: `recipient`."),
        ] = None,
        at: Annotated[Path, at_option] = folder,
        as_json: Json = False,
    ) -> None:
        """Write one encrypted file with all that must not be lost, while the service runs."""
        from fedmed.cli.keeping import back_up

        back_up(role, at, file, passphrase, to, as_json)

    @app.command()
    def restore(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
        target: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
        passphrase: Passphrase = None,
        key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="The recipient's key file.")] = None,
        as_json: Json = False,
    ) -> None:
        """Make a folder from a backup; it says what to look at before the service may start."""
        from fedmed.cli.keeping import restore as put_back

        put_back(role, file, target, passphrase, key, as_json)

    @app.command()
    def recipient(
        key: Annotated[Path, typer.Argument(metavar="KEYFILE", help="A key of `fedmed data key`, kept away from here.")],
        as_json: Json = False,
    ) -> None:
        """Print the recipient of a key file, for `backup --to`: backups are made without what opens them."""
        from fedmed.cli.keeping import show_recipient

        show_recipient(key, as_json)

    @app.command()
    def settle(
        who: Annotated[str, typer.Option(help="Who has looked; the audit log will say so.")],
        at: Annotated[Path, at_option] = folder,
        as_json: Json = False,
    ) -> None:
        """Say that somebody has looked at what a restore set back; the service may start then."""
        from fedmed.cli.keeping import settle as say

        say(role, at, who, as_json)
