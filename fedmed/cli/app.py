"""The commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from fedmed import __version__
from fedmed.cli.audit import audit
from fedmed.cli.center import center
from fedmed.cli.clinic import clinic
from fedmed.cli.data import data
from fedmed.cli.edge import edge
from fedmed.cli.model import model
from fedmed.cli.privacy import privacy
from fedmed.cli.releases import release
from fedmed.cli.twin import twin
from fedmed.cli.wheelhouse import wheelhouse
from fedmed.errors import ConfigError

INTERRUPTED = 130  # as any shell reports Ctrl-C

app = typer.Typer(
    help="Hospitals train medical-imaging AI together; no image ever leaves its hospital.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


def _say_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"fedmed {__version__}\n")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Hospitals train medical-imaging AI together; no image ever leaves its hospital."""


@app.command()
def simulate(
    scenario: Annotated[
        str | None, typer.Argument(help="A built-in scenario (see: fedmed scenarios) or a file; demo when absent.")
    ] = None,
    data: Annotated[Path | None, typer.Option(envvar="FEDMED_DATA", help="Folder that holds the data sets.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Another number of rounds.")] = None,
    engine: Annotated[str | None, typer.Option(help="inprocess, ray or crowd.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another value of any key.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the model, the report and the commits.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last commit in --out.")] = False,
    sweeps: Annotated[
        list[str] | None, typer.Option("--sweep", metavar="KEY=A,B,...", help="A run for each value; again for more keys.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="METRIC=NUMBER", help="Tell how long it took until validation had so much.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="With --sweep: runs at a time (1).")] = None,
    repeats: Annotated[int | None, typer.Option(help="With --sweep: seeds of each combination (1).")] = None,
    as_json: Json = False,
) -> None:
    """Run a whole federation on this machine."""
    given = {"rounds": rounds, "engine.name": engine, "seed": seed}
    overrides = [f"--{key.partition('.')[0]} {key}={value}" for key, value in given.items() if value is not None]
    every = (*overrides, *(settings or ()))
    if sweeps:
        from fedmed.cli import sweeping

        many = (1 if jobs is None else jobs, 1 if repeats is None else repeats)
        wanted = (scenario or "demo", data, every, tuple(sweeps), target, *many, out, resume, as_json)
        sweeping.run(sweeping.Options(*wanted))
        return
    if given_alone := [name for name, value in (("--jobs", jobs), ("--repeats", repeats)) if value is not None]:
        raise ConfigError(f"{' and '.join(given_alone)}: allowed with --sweep KEY=A,B,... alone")
    from fedmed.cli.simulate import Options, run

    run(Options(scenario, data, every, out, resume, as_json, target))


@app.command()
def scenarios(as_json: Json = False) -> None:
    """List the built-in scenarios."""
    from fedmed.cli.listing import scenario_rows, show

    show(scenario_rows(), as_json)


@app.command()
def plan(
    scenario: Annotated[str | None, typer.Argument(help="A built-in scenario or a file that has a topology.")] = None,
    data: Annotated[Path | None, typer.Option(envvar="FEDMED_DATA", help="Folder that holds the data sets.")] = None,
    inputs: Annotated[
        str | None, typer.Option(metavar="CxDxHxW", help="Shape of a case, channels first, instead of reading the data.")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=2, max=10_000, help="Classes, with --inputs.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another value of any key.")
    ] = None,
    deadline: Annotated[str | None, typer.Option(metavar="TIME", help="When all rounds are to be over, such as 8h.")] = None,
    kwh: Annotated[str | None, typer.Option(metavar="MONEY", help="Price of a kWh, such as '0.15 USD'.")] = None,
    yearly: Annotated[str | None, typer.Option(metavar="MONEY", help="Staff, network and backup of a year.")] = None,
    benefit: Annotated[str | None, typer.Option(metavar="MONEY", help="What a year brings; for value and payback.")] = None,
    profiles: Annotated[bool, typer.Option("--profiles", help="List the machines, each number with its source.")] = False,
    as_json: Json = False,
) -> None:
    """Reckon what a scenario with a topology needs: memory and batch, lines, disks, time, energy, money."""
    from fedmed.cli.planning import Options, list_profiles, run

    if profiles:
        list_profiles(as_json)
        return
    given = (scenario, data, inputs, classes, tuple(settings or ()), deadline, kwh, yearly, benefit, as_json)
    run(Options(*given))


@app.command()
def calibrate(
    scenario: Annotated[str | None, typer.Argument(help="Whose model is trained; a small one where absent.")] = None,
    data: Annotated[Path | None, typer.Option(envvar="FEDMED_DATA", help="Folder that holds the data sets.")] = None,
    name: Annotated[str, typer.Option(help="Name of the machine.")] = "here",
    seconds: Annotated[float, typer.Option(min=0, max=600, help="That each number is measured for.")] = 2.0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the entry there.")] = None,
    as_json: Json = False,
) -> None:
    """Measure this machine as an entry of topology.machines: speed, memory, and a training step."""
    from fedmed.cli.calibrating import run

    run(scenario, data, name, seconds, out, as_json)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run's folder.")], as_json: Json = False) -> None:
    """Write report.html of a run anew, and say where it is."""
    from fedmed.report import write_report

    _say({"report": str(write_report(folder).resolve())}, as_json)


@app.command()
def ledger(
    path: Annotated[Path, typer.Argument(help="A clinic's ledger, a folder of them, or a run's folder.")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page there that can be printed and signed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what left a clinic, round by round, as it was sent; every line is verified first."""
    from fedmed.cli.ledger import tell

    tell(path, html, as_json)


@app.command()
def schema(as_json: Json = False) -> None:
    """Print the JSON Schema of a scenario file, for editors."""
    from fedmed.config.allowed import schema as schema_of

    sys.stdout.write(json.dumps(schema_of(), indent=None if as_json else 2) + "\n")


app.add_typer(center, name="center")
app.add_typer(clinic, name="clinic")
app.add_typer(edge, name="edge")
app.add_typer(audit, name="audit")
app.add_typer(data, name="data")
app.add_typer(model, name="model")
app.add_typer(release, name="release")
app.add_typer(privacy, name="privacy")
app.add_typer(twin, name="twin")
app.add_typer(wheelhouse, name="wheelhouse")


def _say(facts: dict[str, Any], as_json: bool) -> None:
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else "\n".join(str(value) for value in facts.values()) + "\n")


def call(arguments: list[str] | None = None) -> int:
    """Run the command line; usage errors are click's own, printed as click prints them."""
    try:
        result = app(arguments, prog_name="fedmed", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # click's word for Ctrl-C
        return INTERRUPTED
    return result if isinstance(result, int) else 0
