"""`fedmed clinic release`: what this clinic lets onto its devices; the work is in `fedmed.cli.countersigning`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.places import FOLDER, At
from fedmed.cli.quarantine import Json

release = typer.Typer(help="Models for this clinic's devices: list, approve, refuse.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(metavar="RELEASE", min=1, help="Its counter; see: fedmed clinic release list.")]
Who = Annotated[
    list[str],
    typer.Option("--approver", metavar="NAME", help="Who signs, of those who may approve runs. Repeated where more must."),
]
KeyFiles = Annotated[
    list[Path] | None,
    typer.Option("--key", metavar="FILE", help="The key file of each; ~/.config/fedmed/approver-NAME.key when absent."),
]
Passphrases = Annotated[
    list[Path] | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Holds the passphrase of each; asked for when absent."),
]
RootKey = Annotated[
    Path, typer.Option("--root-key", metavar="FILE", help="This clinic's root key; made by `init` where none is there.")
]


@release.command()
def init(
    fingerprint: Annotated[
        str, typer.Option(metavar="HEX", help="Of the federation's root, told by telephone or on paper: 64 digits.")
    ],
    root_key: RootKey,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Trust the federation's releases, and begin this clinic's countersignature, by all who may approve runs now."""
    from fedmed.cli.countersigning import begin

    begin(at, fingerprint, root_key, as_json)


@release.command()
def approvers(root_key: RootKey, at: At = FOLDER, as_json: Json = False) -> None:
    """Let those who may approve runs now countersign from now on, in place of those before."""
    from fedmed.cli.countersigning import delegate

    delegate(at, root_key, as_json)


@release.command("list")
def list_(at: At = FOLDER, as_json: Json = False) -> None:
    """List the federation's releases beside this clinic's word on each; brings both up to date first."""
    from fedmed.cli.countersigning import list_releases

    list_releases(at, as_json)


@release.command()
def approve(
    which: Number,
    approver: Who,
    shadow: Annotated[bool, typer.Option("--shadow", help="Only to run beside the active one.")] = False,
    key: KeyFiles = None,
    passphrase_file: Passphrases = None,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Countersign a release: its files are fetched and verified, and devices may take it as far as the center lets it."""
    from fedmed.cli.countersigning import approve as sign
    from fedmed.cli.countersigning import signers

    sign(at, which, shadow, signers(approver, key, passphrase_file), as_json)


@release.command()
def refuse(
    which: Number,
    approver: Who,
    why: Annotated[str, typer.Option(help="For this clinic's own record.")] = "",
    key: KeyFiles = None,
    passphrase_file: Passphrases = None,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Keep a release off this clinic's devices, or take it back from them; it holds at their next heartbeat."""
    from fedmed.cli.countersigning import refuse as sign
    from fedmed.cli.countersigning import signers

    sign(at, which, why, signers(approver, key, passphrase_file), as_json)
