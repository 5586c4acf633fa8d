"""`fedmed clinic`: see whether a machine is fit, join a federation, and decide whom to encrypt with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli import backups
from fedmed.cli.clinic_archive import archive
from fedmed.cli.clinic_data import data
from fedmed.cli.clinic_devices import devices, hub
from fedmed.cli.clinic_releases import release
from fedmed.cli.clinic_runs import approvals, approver, runs
from fedmed.cli.clinic_runs import approve as approve_run
from fedmed.cli.places import FOLDER, At
from fedmed.cli.quarantine import Json

clinic = typer.Typer(help="Take part in a federation as a clinic.", no_args_is_help=True)
members = typer.Typer(help="The members that this clinic has approved itself.", no_args_is_help=True)
clinic.add_typer(members, name="members")
clinic.add_typer(data, name="data")
clinic.add_typer(approvals, name="approvals")
clinic.add_typer(devices, name="devices")
clinic.add_typer(hub, name="hub")
clinic.add_typer(release, name="release")
clinic.add_typer(archive, name="archive")
backups.add_to(clinic, "clinic", FOLDER, "FEDMED_CLINIC")
Certificate = Annotated[
    Path | None, typer.Option("--certificate", metavar="FILE", help="The member's certificate; the center's when absent.")
]


@clinic.command()
def join(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The join file that the center sent.")],
    at: At = FOLDER,
    proxy: Annotated[
        str | None, typer.Option(help="http://[USER:PASSWORD@]HOST:PORT, or none; https_proxy when absent.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the center's operator; --no-wait asks once.")] = True,
    as_json: Json = False,
) -> None:
    """Make this clinic's keys, ask the center for its certificate, and show six words to compare."""
    from fedmed.cli.joining import run

    run(file, at, proxy, wait, as_json)


@members.command("list")
def list_members(at: At = FOLDER, as_json: Json = False) -> None:
    """List the federation's members beside those that this clinic has approved."""
    from fedmed.cli.members import show_members

    show_members(at, as_json)


@members.command()
def approve(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A member.")],
    words: Annotated[str | None, typer.Option(help="The six words that the member read out; asked for when absent.")] = None,
    certificate: Certificate = None,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Approve a member, after comparing six words with it by telephone."""
    from fedmed.cli.members import approve as pin

    pin(at, name, words, certificate, as_json)


@members.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An approved member.")], at: At = FOLDER, as_json: Json = False
) -> None:
    """Take an approval back; from the next epoch on no roster with that member is accepted."""
    from fedmed.cli.members import remove as unpin

    unpin(at, name, as_json)


@clinic.command()
def doctor(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", envvar="FEDMED_CLINIC", help="The clinic's folder, there or to be made.")
    ] = FOLDER,
    host: Annotated[str | None, typer.Option(help="The center; what clinic.yaml says when absent.")] = None,
    port: Annotated[int | None, typer.Option(help="Its port; clinic.yaml's, or 443.")] = None,
    proxy: Annotated[
        str | None, typer.Option(help="http://[USER:PASSWORD@]HOST:PORT, or none; clinic.yaml's, or https_proxy.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The federation's authority (PEM); transport-ca.crt of FOLDER.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The clinic's certificate (PEM); member.crt of FOLDER, if there.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key (PEM); member.keys of FOLDER.")] = None,
    parameters: Annotated[str, typer.Option(help="Size of the model to reckon with: 250k, 10M, 1.5B.")] = "10M",
    lanes: Annotated[int, typer.Option(help="Bits of a masked number: 16 or 32.")] = 32,
    as_json: Json = False,
) -> None:
    """Check network, trust, clock and machine before anything is installed; say what to fix, and how long a round takes.

    Ends with 0 where all is well, 2 configuration, 10 warnings only, 11 network, 12 trust or clock, 13 this machine, 14 a
    check that broke; the first check that failed decides.
    """
    from fedmed.cli.doctor import run
    from fedmed.clinic.doctor.estimate import read_parameters
    from fedmed.clinic.doctor.examination import Asked, checks
    from fedmed.clinic.doctor.settings import Given
    from fedmed.clock import SystemClock
    from fedmed.errors import ConfigError

    if lanes not in (16, 32):
        raise ConfigError(f"--lanes {lanes}; allowed: 16 or 32")
    given = Given(folder, host, port, proxy, ca, certificate, key)
    run(checks(Asked(given, read_parameters(parameters), lanes), SystemClock()), as_json)


@clinic.command()
def up(at: At = FOLDER, as_json: Json = False) -> None:
    """Take part: one outbound line to the center, work for the runs that were approved. Ends with SIGTERM or Ctrl-C."""
    from fedmed.cli.serving import clinic_up

    clinic_up(at, as_json)


@clinic.command()
def status(at: At = FOLDER, as_json: Json = False) -> None:
    """Show what the daemon works on, what it still owes, and what staff should know."""
    from fedmed.cli.standing import clinic_status

    clinic_status(at, as_json)


@clinic.command()
def pause(at: At = FOLDER, as_json: Json = False) -> None:
    """Take no more work, until `resume`; what is worked on comes to its end."""
    from fedmed.cli.standing import pause as take_none

    take_none(at, True, as_json)


@clinic.command()
def resume(at: At = FOLDER, as_json: Json = False) -> None:
    """Take work again."""
    from fedmed.cli.standing import pause as take_again

    take_again(at, False, as_json)


@clinic.command()
def ledger(
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page there that can be printed and signed.")
    ] = None,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Show what left this clinic, round by round, as it was sent; every line is verified first."""
    from fedmed.cli.ledger import tell_own

    tell_own(at, html, as_json)


clinic.command()(approver)
clinic.command()(runs)
clinic.command("approve")(approve_run)


@clinic.command()
def forgive(
    who: Annotated[str, typer.Option(help="Who heard from the center's operator why; the audit log will say so.")],
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Accept that the center's audit log became shorter, as after a restore; what was accused is put aside, and kept."""
    from fedmed.cli.keeping import forgive as accept

    accept(at, who, as_json)
