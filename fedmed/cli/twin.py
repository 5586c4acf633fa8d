"""`fedmed twin`: a real federation recorded as a scenario, and replayed in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

twin = typer.Typer(
    help="A real federation's twin: recorded from its own records, run in virtual time.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


@twin.command()
def record(
    center: Annotated[str, typer.Argument(metavar="CENTER", help="Folder of a center, of which only files are read.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write the scenario there.")] = Path("twin.yaml"),
    run: Annotated[str | None, typer.Option(metavar="NAME", help="A run; the newest where absent.")] = None,
    as_json: Json = False,
) -> None:
    """Write what a run's records say of machines, lines and absences as a scenario with a topology."""
    from fedmed.cli.replaying import write_twin

    write_twin(center, out, run, as_json)


@twin.command()
def replay(
    scenario: Annotated[Path, typer.Argument(metavar="FILE", help="What fedmed twin record wrote.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What if: lines.north.up='5 Mbit/s', or any other key."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page there.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the rounds there.")] = None,
    as_json: Json = False,
) -> None:
    """Run the rounds of a recording in virtual time; predicted beside observed."""
    from fedmed.cli.replaying import Options, run

    run(Options(scenario, tuple(settings or ()), html, csv, as_json))


@twin.command()
def search(
    seeds: Annotated[int, typer.Option(metavar="N", help="How many seeds to play.")] = 1000,
    first: Annotated[int, typer.Option(metavar="K", help="The first of them.")] = 0,
    jobs: Annotated[int, typer.Option(metavar="J", help="Processes that play at once.")] = 1,
    seed: Annotated[int | None, typer.Option("--replay", metavar="SEED", help="Play this seed alone, and show it.")] = None,
    as_json: Json = False,
) -> None:
    """Random faults by seed around the protocol, the stores and the audit log: a search for what must never happen."""
    from fedmed.cli.searching import Options, run

    run(Options(seeds, first, jobs, seed, as_json))
