"""`fedmed edge`: a device beside a scanner; the work is in `fedmed.cli.edging`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.quarantine import Json

edge = typer.Typer(help="Look at images on a device beside the scanner, for one clinic.", no_args_is_help=True)
aside = typer.Typer(help="Objects that the agent could do nothing with.", no_args_is_help=True)
edge.add_typer(aside, name="aside")
FOLDER = Path("fedmed-edge")
At = Annotated[Path, typer.Option("--at", metavar="FOLDER", envvar="FEDMED_EDGE", help="The device's folder.")]


@edge.command()
def join(
    code: Annotated[str, typer.Argument(help="The code of `fedmed clinic devices invite`; good once, for an hour.")],
    hub: Annotated[str, typer.Option(metavar="HOST[:PORT]", help="The clinic's hub, and its port for enrolment.")],
    again: Annotated[
        bool, typer.Option("--again", help="The hub lets this folder's device in no more; what waits there stays.")
    ] = False,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Make this device's keys, and have its clinic's hub certify them."""
    from fedmed.cli.edging import join_hub

    join_hub(code, hub, at, again, as_json)


@edge.command()
def doctor(
    folder: Annotated[Path, typer.Argument(envvar="FEDMED_EDGE", help="The device's folder.")] = FOLDER,
    hub: Annotated[
        str | None, typer.Option(metavar="HOST[:PORT]", help="Before joining: the hub, and its port for enrolment.")
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(help="Before joining: to see that the hub is the one that it is for; not used up."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check configuration, packages, hub, PACS, doors, disk, memory and model within a minute; change nothing.

    Ends with 0 where all is well, 2 configuration, 10 warnings only, 11 network or PACS, 12 trust or clock, 13 this device,
    14 a check that broke; the first check that failed decides.
    """
    from fedmed.cli.doctor import run
    from fedmed.cli.edging import host_and_port
    from fedmed.clock import SystemClock
    from fedmed.edge.doctor.configuration import Asked
    from fedmed.edge.doctor.examination import TOTAL_S, checks

    asked = Asked(folder, None if hub is None else host_and_port(hub), code)
    run(checks(asked, SystemClock()), as_json, TOTAL_S)


@edge.command()
def up(at: At = FOLDER, as_json: Json = False) -> None:
    """Receive, look, send: until SIGTERM or Ctrl-C."""
    from fedmed.cli.serving import edge_up

    edge_up(at, as_json)


@edge.command()
def status(at: At = FOLDER, as_json: Json = False) -> None:
    """Show what the agent does, what waits, which model looks; of a clinic's folder, all of its devices."""
    from fedmed.cli.edging import show_status

    show_status(at, as_json)


@edge.command()
def pause(at: At = FOLDER, as_json: Json = False) -> None:
    """Look at no more images, until `resume`; what comes in is kept all the same, and results are sent."""
    from fedmed.cli.edging import pause as stop_looking

    stop_looking(at, True, as_json)


@edge.command()
def resume(
    seen_to: Annotated[
        str | None, typer.Option("--seen-to", metavar="CARD", help="A card that was seen to after it failed, such as gpu0.")
    ] = None,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Look at images again."""
    from fedmed.cli.edging import pause as look_again
    from fedmed.cli.mending import say_seen_to

    if seen_to is None:
        look_again(at, False, as_json)
    else:
        say_seen_to(at, seen_to, as_json)


@edge.command()
def results(
    last: Annotated[int, typer.Option(min=1, max=100_000, help="So many of the newest.")] = 20,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Show the newest results: which image, which model, what it said."""
    from fedmed.cli.edging import show_results

    show_results(at, last, as_json)


@aside.command("list")
def list_aside(at: At = FOLDER, as_json: Json = False) -> None:
    """List them, each with the reason."""
    from fedmed.cli.edging import list_aside as show

    show(at, as_json)


@aside.command("export")
def export_aside(
    address: Annotated[str, typer.Argument(help="As `list` shows it, or its beginning.")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; it holds a patient's data.")],
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Write one of them as the file that it came as."""
    from fedmed.cli.edging import export_aside as write

    write(at, address, out, as_json)
