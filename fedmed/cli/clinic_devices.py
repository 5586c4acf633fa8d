"""`fedmed clinic devices` and `fedmed clinic hub`: the boxes beside a clinic's scanners; the work is in `hubs`."""

from __future__ import annotations

from typing import Annotated

import typer

from fedmed.cli.places import FOLDER, At
from fedmed.cli.quarantine import Json

devices = typer.Typer(help="The devices beside this clinic's scanners.", no_args_is_help=True)
hub = typer.Typer(help="The hub that this clinic's devices talk to.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A device; a-z, 0-9, '_', '.', '-'.")]


@devices.command()
def invite(
    name: Name,
    minutes: Annotated[int, typer.Option(help="For how long the code is good, a week at most.")] = 60,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Make a code that enrols one device once. The first one makes the hub's folder, with an authority of its own."""
    from fedmed.cli.hubs import invite as make

    make(at, name, minutes, as_json)


@devices.command("list")
def list_devices(at: At = FOLDER, as_json: Json = False) -> None:
    """List the devices: who is invited, enrolled, revoked, and who is heard now."""
    from fedmed.cli.hubs import list_devices as work

    work(at, as_json)


@devices.command()
def revoke(name: Name, at: At = FOLDER, as_json: Json = False) -> None:
    """Let a device in no more, from its next call on; its keys never come back."""
    from fedmed.cli.hubs import revoke as work

    work(at, name, as_json)


@hub.command()
def up(at: At = FOLDER, as_json: Json = False) -> None:
    """Serve this clinic's devices: one port to enrol at, one for all else. Ends with SIGTERM or Ctrl-C."""
    from fedmed.cli.serving import hub_up

    hub_up(at, as_json)
