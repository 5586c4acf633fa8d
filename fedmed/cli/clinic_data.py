"""`fedmed clinic data`: what a clinic's data sets are, and what they may be used for; the work is in `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.places import FOLDER, At
from fedmed.cli.quarantine import Json

data = typer.Typer(help="The data sets of this clinic, and what they may be used for.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set.")]
Purpose = Annotated[str, typer.Option(metavar="WORD", help="As a scenario's purpose, such as research.")]
Until = Annotated[str | None, typer.Option(metavar="DATE", help="YYYY-MM-DD, the first day on which it no longer holds.")]


@data.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the data set is to be called here.")],
    reader: Annotated[str, typer.Option(help="How its files are read: as a scenario's data.reader.")],
    folder: Annotated[Path | None, typer.Option(metavar="PATH", help="Where they are.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the reader; split.test, split.validation, seed."),
    ] = None,
    site: Annotated[str | None, typer.Option(metavar="NAME", help="Which site of a published set this clinic is.")] = None,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Read a data set, show what is in it, and register it; nothing may use it before it is released."""
    from fedmed.cli.datasets import add as work

    work(at, name, reader, folder, tuple(settings or ()), site, as_json)


@data.command()
def renew(name: Name, at: At = FOLDER, as_json: Json = False) -> None:
    """Read the files of a data set again; where they are others now, it has to be released again."""
    from fedmed.cli.datasets import renew as work

    work(at, name, as_json)


@data.command("list")
def list_data(at: At = FOLDER, as_json: Json = False) -> None:
    """List the data sets, and what each may be used for now."""
    from fedmed.cli.datasets import show_all

    show_all(at, as_json)


@data.command()
def show(name: Name, at: At = FOLDER, as_json: Json = False) -> None:
    """Show a data set, word for word."""
    from fedmed.cli.datasets import show as work

    work(at, name, as_json)


@data.command()
def release(
    name: Name,
    purpose: Purpose,
    run: Annotated[str | None, typer.Option(metavar="NAME", help="For this run alone.")] = None,
    until: Until = None,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Let runs of a purpose use the data set, once each is approved as well."""
    from fedmed.cli.datasets import release as work

    work(at, name, purpose, run, until, as_json)


@data.command()
def withdraw(
    name: Name,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="For the file and the audit log; no patient's name.")] = "",
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Stop every use of a data set from the next message on, also in the middle of a run."""
    from fedmed.cli.datasets import withdraw as work

    work(at, name, reason, as_json)
