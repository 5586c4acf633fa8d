"""`fedmed data`: from a hospital's DICOM to training tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.quarantine import Json, quarantine

data = typer.Typer(help="Look at, de-identify and prepare a hospital's images.", no_args_is_help=True)
data.add_typer(quarantine, name="quarantine")
ledger = typer.Typer(help="What left a site, line by line.", no_args_is_help=True)
data.add_typer(ledger, name="ledger")

Source = Annotated[Path, typer.Argument(metavar="IN", help="Folder of originals.")]
Key = Annotated[
    Path | None, typer.Option(envvar="FEDMED_KEY", help="The clinic's key file; ~/.config/fedmed/site.key when absent.")
]
Labels = Annotated[
    Path | None, typer.Option(metavar="CSV", help="Labels by study, series, accession or patient; joined, then renamed.")
]
Store = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the two sealed stores.")]


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
    as_json: Json = False,
) -> None:
    """Copy studies without what identifies patients (DICOM PS3.15 Annex E); what cannot be made safe is set aside."""
    from fedmed.cli.deid import Options, run

    run(Options(source, out, key, verify, as_json, report, labels, structured_content))


@data.command("key")
def make_key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")], as_json: Json = False
) -> None:
    """Make the clinic's key, from which pseudonyms and the stores' keys are derived."""
    import json

    from fedmed.privacy.keys import create

    create(path)
    advice = "keep a copy in a safe place; without it no pseudonym can be made again and no store be opened"
    typer.echo(json.dumps({"key": str(path)}) if as_json else f"{path}: {advice}")


@data.command("import")
def import_studies(source: Source, store: Store, key: Key = None, labels: Labels = None, as_json: Json = False) -> None:
    """Put originals and their de-identified copies into two sealed stores."""
    from fedmed.cli.stores import fill

    fill(source, store, key, labels, as_json)


@data.command("export")
def export_copies(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder.")],
    store: Store,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Write the de-identified copies of a store as files."""
    from fedmed.cli.stores import empty_into

    empty_into(out, store, key, as_json)


@data.command()
def pack(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN", help="A scenario (built-in name or .yaml file), a folder of sites with manifests, or a .pack file."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder of shards, or a file ending in .pack.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="FEDMED_DATA", help="Folder that holds a scenario's data sets.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another value of any key of a scenario.")
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Largest size of a shard, in MB.", min=1)] = 256,
    size: Annotated[
        int | None, typer.Option(help="Pixels on a side of images that are read from a folder; 224 when absent.", min=8)
    ] = None,
    as_json: Json = False,
) -> None:
    """Put finished samples into WebDataset shards, or into one file that is mapped into memory.

    IN is a scenario (a built-in name or a .yaml file), a folder of sites with manifests, or a .pack file. OUT is a new
    folder of shards, or a file ending in .pack.
    """
    from fedmed.cli.pack import Options, run

    run(Options(source, out, data, tuple(settings or ()), shard_size * 1_000_000, size, as_json))


@ledger.command("show")
def ledger_show(file: Annotated[Path, typer.Argument(help="A site's ledger.")], as_json: Json = False) -> None:
    """Show what left the site, when and by whose approval; the ledger is verified first."""
    from fedmed.cli.ledger import show

    show(file, as_json)


@ledger.command("verify")
def ledger_verify(file: Annotated[Path, typer.Argument(help="A site's ledger.")], as_json: Json = False) -> None:
    """Check that every line is as it was written, and that none is missing, added or moved."""
    from fedmed.cli.ledger import verify

    verify(file, as_json)
