"""`fedmed data`: from a hospital's DICOM to training tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(help="Look at, de-identify and prepare a hospital's images.", no_args_is_help=True)
ledger = typer.Typer(help="What left a site, line by line.", no_args_is_help=True)
data.add_typer(ledger, name="ledger")
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


@data.command()
def pack(
    source: Annotated[Path, typer.Argument(help="A folder of sites with manifests, or a .pack file.")],
    out: Annotated[Path, typer.Argument(help="A new folder of shards, or a file ending in .pack.")],
    shard_size: Annotated[int, typer.Option(help="Largest size of a shard, in MB.", min=1)] = 256,
    size: Annotated[int, typer.Option(help="Pixels on a side of images that are read from a folder.", min=8)] = 224,
    as_json: Json = False,
) -> None:
    """Put finished samples into WebDataset shards, or into one file that is mapped into memory."""
    from fedmed.cli.pack import Options, run

    run(Options(source, out, shard_size * 1_000_000, size, as_json))


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
