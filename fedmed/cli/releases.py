"""`fedmed release`: models for devices, from candidate to active and back; the work is in `fedmed.cli.releasing`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.quarantine import Json

release = typer.Typer(help="Models for devices: candidate, shadow, active, rolled back.", no_args_is_help=True)

At = Annotated[Path, typer.Option("--at", metavar="FOLDER", envvar="FEDMED_CENTER", help="The center's folder.")]
Number = Annotated[int, typer.Argument(metavar="RELEASE", min=1, help="Its counter; see: fedmed release status.")]
RootKeys = Annotated[
    list[Path],
    typer.Option("--root-key", metavar="FILE", help="A key of the root; made where none is there. May be repeated."),
]


@release.command()
def init(
    root_key: RootKeys,
    threshold: Annotated[int, typer.Option(min=1, help="How many of the root's keys must sign a new root.")] = 1,
    at: At = Path(),
    as_json: Json = False,
) -> None:
    """Begin the federation's channel of releases; afterwards the root's keys belong off this machine."""
    from fedmed.cli.releasing import begin

    begin(at, root_key, threshold, as_json)


@release.command()
def propose(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="A package's folder.")],
    name: Annotated[str | None, typer.Option(help="What it is called; as its card.json says when absent.")] = None,
    version: Annotated[str | None, typer.Option(help="Its version; as its card.json says when absent.")] = None,
    at: At = Path(),
    as_json: Json = False,
) -> None:
    """Make a package a candidate, under the next counter."""
    from fedmed.cli.releasing import propose as put

    put(at, package, name, version, as_json)


@release.command()
def promote(which: Number, at: At = Path(), as_json: Json = False) -> None:
    """Let a release come one step further: a candidate runs in the shadow, a shadow becomes active."""
    from fedmed.cli.releasing import promote as further

    further(at, which, as_json)


@release.command()
def rollback(
    which: Number,
    why: Annotated[str, typer.Option(help="What clinics and devices are told.")],
    at: At = Path(),
    as_json: Json = False,
) -> None:
    """End a release, for good; devices return to the one before it."""
    from fedmed.cli.releasing import roll_back

    roll_back(at, which, why, as_json)


@release.command()
def status(at: At = Path(), as_json: Json = False) -> None:
    """List the releases, how far each has come, until when the dates hold, and the root's fingerprint."""
    from fedmed.cli.releasing import show

    show(at, as_json)


@release.command()
def keys(
    root_key: RootKeys,
    new_root_key: Annotated[
        list[Path] | None,
        typer.Option("--new-root-key", metavar="FILE", help="In place of the root's keys; they stay when absent."),
    ] = None,
    threshold: Annotated[int, typer.Option(min=1, help="How many of them must sign the next root.")] = 1,
    at: At = Path(),
    as_json: Json = False,
) -> None:
    """Make the keys that sign day by day anew, as after a theft, under a new root that the old one signs."""
    from fedmed.cli.releasing import rotate

    rotate(at, root_key, new_root_key or root_key, threshold, as_json)
