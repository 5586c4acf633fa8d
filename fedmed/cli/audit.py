"""`fedmed audit`: what happened at a node, verified, proved, exported; the work is in `fedmed.cli.auditing`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

audit = typer.Typer(help="A node's audit log: verify it, prove an entry, export it.", no_args_is_help=True)

Log = Annotated[Path, typer.Argument(metavar="PATH", help="The folder of an audit log.")]
Archive = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder that archived segments were moved to, if they were.")
]
Fingerprint = Annotated[
    str | None, typer.Option("--log", metavar="HEX", help="Fingerprint of the log's owner, as you know it from elsewhere.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


@audit.command()
def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder of an audit log, or one archived segment.")],
    archive: Archive = None,
    log: Fingerprint = None,
    head: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A head, or a countersigned one, that was kept elsewhere; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every line, every segment's anchor, every signature, and that the log goes on from heads kept elsewhere."""
    from fedmed.cli.auditing import verify as work

    work(path, archive, log, head or [], as_json)


@audit.command()
def prove(
    path: Log,
    index: Annotated[int, typer.Argument(help="Number of the entry; the first is 0.")],
    against: Annotated[
        int | None,
        typer.Option(metavar="SIZE", help="In the log of so many entries; of the newest signed head when absent."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="entry-INDEX.proof.json when absent.")] = None,
    archive: Archive = None,
    as_json: Json = False,
) -> None:
    """Write a proof that an entry is in the log; `check-proof` checks it without the log."""
    from fedmed.cli.auditing import prove as work

    work(path, index, against, out or Path(f"entry-{index}.proof.json"), archive, as_json)


@audit.command("check-proof")
def check_proof(
    proof: Annotated[Path, typer.Argument(metavar="FILE", help="What `prove` or `export` wrote.")],
    log: Fingerprint = None,
    as_json: Json = False,
) -> None:
    """Check a proof without the log, and show the entry that it proves."""
    from fedmed.cli.auditing import check_proof as work

    work(proof, log, as_json)


@audit.command()
def export(
    path: Log,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="New file that ends in .jsonl or .csv.")],
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="2026-11-30 or 2026-11-30T12:00, UTC.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="The first moment left out.")] = None,
    archive: Archive = None,
    as_json: Json = False,
) -> None:
    """Write entries for an auditor, and proofs of the first and the last beside them."""
    from fedmed.cli.auditing import export as work

    work(path, to, since, until, archive, as_json)


@audit.command()
def show(
    path: Log,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest entries.")] = 20,
    archive: Archive = None,
    as_json: Json = False,
) -> None:
    """Show the newest entries."""
    from fedmed.cli.auditing import show as work

    work(path, last, archive, as_json)


@audit.command("archive")
def archive_segments(
    path: Log,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Another folder; the log's own when absent.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compress the segments that are closed; each goes with its anchor, by which it is verified alone."""
    from fedmed.cli.auditing import archive as work

    work(path, to, as_json)


@audit.command()
def prune(
    path: Log,
    who: Annotated[str, typer.Option(help="Who asks for it; the log will say so.")],
    years: Annotated[float, typer.Option(help="Retention; half a year at least.")] = 7.0,
    archive: Archive = None,
    as_json: Json = False,
) -> None:
    """Take away archived segments older than retention; their anchors stay, and the log tells of it."""
    from fedmed.cli.auditing import prune as work

    work(path, who, years, archive, as_json)
