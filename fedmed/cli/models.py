"""`fedmed center models`: the registry of committed global models; the work is in `fedmed.cli.shelving`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.quarantine import Json

models = typer.Typer(help="Committed global models: list, verify, export, prune.", no_args_is_help=True)

At = Annotated[Path, typer.Option("--at", metavar="FOLDER", envvar="FEDMED_CENTER", help="The center's folder.")]
Which = Annotated[
    str, typer.Argument(metavar="MODEL", help="RUN:ROUND, the beginning of its SHA-256, or `latest`, or `best`.")
]
Copy = Annotated[bool, typer.Option("--copy", help="Of the second place that center.yaml names, not of this machine.")]


@models.command("list")
def list_(at: At = Path(), copy: Copy = False, as_json: Json = False) -> None:
    """List the models that are kept, and what is not copied yet."""
    from fedmed.cli.shelving import list_models

    list_models(at, copy, as_json)


@models.command()
def show(which: Which = "latest", at: At = Path(), copy: Copy = False, as_json: Json = False) -> None:
    """Show where a model comes from: run, round, cohort, measures, privacy, fingerprints."""
    from fedmed.cli.shelving import show_model

    show_model(at, which, copy, as_json)


@models.command()
def export(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    which: Which = "latest",
    at: At = Path(),
    copy: Copy = False,
    as_json: Json = False,
) -> None:
    """Write a model, verified: weights, lineage, signature, and the public key that it is verified with."""
    from fedmed.cli.shelving import export_model

    export_model(at, which, out, copy, as_json)


@models.command()
def verify(
    which: Annotated[str | None, typer.Argument(metavar="MODEL", help="As for `show`; all when absent.")] = None,
    at: At = Path(),
    copy: Copy = False,
    as_json: Json = False,
) -> None:
    """Check every file of every model, and every signature; an altered one ends with 5 and is named."""
    from fedmed.cli.shelving import verify_models

    verify_models(at, which, copy, as_json)


@models.command()
def prune(
    at: At = Path(),
    last: Annotated[
        int | None, typer.Option(min=1, help="Of the newest, how many stay; as center.yaml when absent.")
    ] = None,
    best: Annotated[int | None, typer.Option(min=0, help="Of the best, how many stay; as center.yaml when absent.")] = None,
    as_json: Json = False,
) -> None:
    """Let models go that retention does not keep; never one that a run goes on from."""
    from fedmed.cli.shelving import prune_models

    prune_models(at, last, best, as_json)
