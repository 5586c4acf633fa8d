"""`fedmed center`: make a federation, let clinics in, shut them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli import backups
from fedmed.cli.models import models
from fedmed.cli.quarantine import Json

center = typer.Typer(help="Run a federation's center.", no_args_is_help=True)
center.add_typer(models, name="models")
backups.add_to(center, "center", Path(), "FEDMED_CENTER")

At = Annotated[Path, typer.Option("--at", metavar="FOLDER", envvar="FEDMED_CENTER", help="The center's folder.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The clinic's name.")]


@center.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    name: Annotated[str, typer.Option(help="What the federation is called.")],
    host: Annotated[str, typer.Option(help="Name or address under which clinics reach this machine.")],
    port: Annotated[int, typer.Option(help="The one port that they dial.")] = 443,
    also: Annotated[list[str] | None, typer.Option(metavar="HOST", help="Another name or address of the same port.")] = None,
    as_json: Json = False,
) -> None:
    """Make a federation: its transport authority, the center's keys and certificate, center.yaml."""
    from fedmed.cli.enrolling import make

    make(folder, {"federation": name, "host": host, "port": port, "also": also or []}, as_json)


@center.command()
def invite(
    name: Name,
    days: Annotated[int, typer.Option(help="For how many days the file is good, 1 to 30.")] = 7,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it; NAME.join when absent.")] = None,
    at: At = Path(),
    as_json: Json = False,
) -> None:
    """Write the one file that a clinic joins with: signed, for one clinic, used once."""
    from fedmed.cli.enrolling import invite as write

    write(at, name, days, out or Path(f"{name}.join"), as_json)


@center.command()
def admit(
    name: Name,
    words: Annotated[str | None, typer.Option(help="The six words that the clinic read out; asked for when absent.")] = None,
    at: At = Path(),
    as_json: Json = False,
) -> None:
    """Let a clinic in that has asked, after comparing six words with it by telephone."""
    from fedmed.cli.enrolling import admit as let_in

    let_in(at, name, words, as_json)


@center.command()
def refuse(name: Name, at: At = Path(), as_json: Json = False) -> None:
    """Turn a request down, as where the six words differ."""
    from fedmed.cli.enrolling import refuse as turn_down

    turn_down(at, name, as_json)


@center.command()
def revoke(name: Name, at: At = Path(), as_json: Json = False) -> None:
    """Shut a clinic out, at once; its keys never come back."""
    from fedmed.cli.enrolling import revoke as shut_out

    shut_out(at, name, as_json)


@center.command()
def sites(at: At = Path(), as_json: Json = False) -> None:
    """List who was invited, has asked, is a member, was revoked."""
    from fedmed.cli.enrolling import show_sites

    show_sites(at, as_json)


@center.command()
def up(at: At = Path(), as_json: Json = False) -> None:
    """Serve: one port for clinics, one run after the other. Ends with SIGTERM or Ctrl-C."""
    from fedmed.cli.serving import center_up

    center_up(at, as_json)


@center.command()
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario file, as `fedmed simulate` takes it, or a built-in one.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another value of any key.")
    ] = None,
    least: Annotated[int | None, typer.Option(help="Clinics to begin with at least; all members when absent.")] = None,
    app: Annotated[
        Path | None, typer.Option(help="An app of your own, a folder or a .fab file; the built-in one when absent.")
    ] = None,
    follow: Annotated[bool, typer.Option(help="Show what happens until the run is over; --no-follow only asks.")] = True,
    at: At = Path(),
    as_json: Json = False,
) -> None:
    """Have the service run a scenario with the clinics, and follow it."""
    from fedmed.cli.standing import Wish
    from fedmed.cli.standing import run as ask

    ask(at, Wish(scenario, tuple(settings or ()), least, app), follow, as_json)


@center.command()
def stop(name: Annotated[str, typer.Argument(metavar="RUN", help="A run.")], at: At = Path(), as_json: Json = False) -> None:
    """End a run; its last commit stays."""
    from fedmed.cli.standing import stop as end

    end(at, name, as_json)


@center.command()
def status(at: At = Path(), as_json: Json = False) -> None:
    """Show the service, who is online, and every run with what it waits for."""
    from fedmed.cli.standing import center_status

    center_status(at, as_json)
