"""`fedmed clinic runs`, `approve`, `approver`, `approvals`: what a clinic lets a center run; the work is in `approving`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.places import FOLDER, At
from fedmed.cli.quarantine import Json

approvals = typer.Typer(help="Which runs were approved here.", no_args_is_help=True)

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or RUN@ and the first digits of its digest.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="The approver's key file; ~/.config/fedmed/approver-NAME.key when absent."),
]
Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Holds the passphrase; asked for when absent.")
]


def approver(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who approves; a-z, 0-9, '_', '.', '-'.")],
    key: KeyFile = None,
    passphrase_file: Passphrase = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="An approver who vouches; needed after the first.")] = None,
    by_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The key file of that one.")] = None,
    by_passphrase_file: Annotated[Path | None, typer.Option(metavar="FILE", help="And its passphrase.")] = None,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Make an approver's key, outside the clinic's folder and under a passphrase, and put its public half on the list."""
    from fedmed.cli.enlisting import Voucher, make_approver

    make_approver(at, name, key, passphrase_file, Voucher(by, by_key, by_passphrase_file), as_json)


def runs(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run that this clinic took part in.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Of one run: write a page with its curve.")] = None,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """List what the center offers to run, and what of it is approved here; of one RUN, what it was worth to this clinic.

    That is measured on the clinic's own test cases, which no training sees. It is kept in the clinic's folder, and nobody
    else is told.
    """
    from fedmed.cli.approving import show_runs
    from fedmed.cli.gaining import show_gain
    from fedmed.errors import ConfigError

    if run is not None:
        show_gain(at, run, html, as_json)
    elif html is not None:
        raise ConfigError("--html is for one run: fedmed clinic runs RUN --html FILE")
    else:
        show_runs(at, as_json)


def approve(
    run: Run,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The data set; the one that fits when absent, or a new one's name.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(help="Of a data set to be registered: how its files are read; as the run does when absent.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(metavar="PATH", help="Of such a one: where its files are.")] = None,
    site: Annotated[str | None, typer.Option(metavar="NAME", help="And which of its sites this clinic is.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="And what of its reading differs from the run's; may be repeated."),
    ] = None,
    release: Annotated[
        bool | None, typer.Option("--release/--no-release", help="Whether runs of this purpose may use the data set.")
    ] = None,
    member: Annotated[
        list[str] | None,
        typer.Option(metavar='NAME="SIX WORDS"', help="Approve a member; NAME=skip leaves one out. May be repeated."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=FROM..TO", help="Let a number of training lie anywhere between two; may be repeated."),
    ] = None,
    days: Annotated[int, typer.Option(help="For how many days, 366 at most.")] = 90,
    any_wheels: Annotated[
        bool, typer.Option("--any-wheels", help="Also after packages of this machine were updated.")
    ] = False,
    approver: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who approves; the one on the list, or the first one ever.")
    ] = None,
    key: KeyFile = None,
    passphrase_file: Passphrase = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the center asks for the run.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    at: At = FOLDER,
    as_json: Json = False,
) -> None:
    """Approve a run: asks for what is not there yet, shows it in plain words, and what changed; then signs.

    What is asked, one after the other, and only where it lacks: who approves, which data set, whether it is released for
    the run's purpose, the six words of each other member. Nothing is asked with --yes, --json or without a terminal.
    """
    from fedmed.cli.approving import approve_run
    from fedmed.cli.requests import Cases, Request, Signature
    from fedmed.clinic.lacking import read_members
    from fedmed.clinic.terms import Terms, read_ranges

    cases = Cases(dataset, reader, folder, site, tuple(settings or ()))
    terms = Terms(days, read_ranges(allow or ()), any_wheels)
    signature = Signature(approver, key, passphrase_file)
    members = read_members(member or ())
    approve_run(at, Request(run, cases, release, members, terms, signature, wait, yes, as_json))


@approvals.command("list")
def list_approvals(at: At = FOLDER, as_json: Json = False) -> None:
    """List all approvals, the oldest first."""
    from fedmed.cli.approving import list_approvals as work

    work(at, as_json)


@approvals.command()
def show(run: Run, at: At = FOLDER, as_json: Json = False) -> None:
    """Show an approval, word for word."""
    from fedmed.cli.approving import show_approval

    show_approval(at, run, as_json)


@approvals.command()
def withdraw(run: Run, at: At = FOLDER, as_json: Json = False) -> None:
    """Take an approval back; it holds from the next message on, also in the middle of a run."""
    from fedmed.cli.approving import withdraw_approval

    withdraw_approval(at, run, as_json)
