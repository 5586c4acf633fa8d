"""`fedmed data`: from a hospital's DICOM to training tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(help="Look at, de-identify and prepare a hospital's images.", no_args_is_help=True)

Source = Annotated[Path, typer.Argument(metavar="IN", help="Folder of originals.")]
Key = Annotated[
    Path | None, typer.Option(envvar="FEDMED_KEY", help="The clinic's key file; ~/.config/fedmed/site.key when absent.")
]
Labels = Annotated[
    Path | None, typer.Option(metavar="CSV", help="Labels by study, series, accession or patient; joined, then renamed.")
]
Store = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the two sealed stores.")]


@data.command()
def deid(
    source: Source,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder for the copies.")],
    key: Key = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Search the copies' bytes for what identified the originals.")
    ] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the whole report there, as JSON.")] = None,
    labels: Labels = None,
    structured_content: Annotated[
        bool, typer.Option("--clean-structured-content", help="Keep the content of structured reports, its texts cleaned.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")] = False,
) -> None:
    """Copy studies without what identifies patients (DICOM PS3.15 Annex E); what cannot be made safe is set aside."""
    from fedmed.cli.deid import Options, run

    run(Options(source, out, key, verify, as_json, report, labels, structured_content))


@data.command("key")
def make_key(path: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")]) -> None:
    """Make the clinic's key, from which pseudonyms and the stores' keys are derived."""
    from fedmed.privacy.keys import create

    create(path)
    typer.echo(f"{path}: keep a copy in a safe place; without it no pseudonym can be made again and no store be opened")


@data.command("import")
def import_studies(source: Source, store: Store, key: Key = None, labels: Labels = None) -> None:
    """Put originals and their de-identified copies into two sealed stores."""
    from fedmed.cli.stores import fill

    fill(source, store, key, labels)


@data.command("export")
def export_copies(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder.")], store: Store, key: Key = None
) -> None:
    """Write the de-identified copies of a store as files."""
    from fedmed.cli.stores import empty_into

    empty_into(out, store, key)
