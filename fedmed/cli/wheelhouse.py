"""`fedmed wheelhouse`: what is installed without a network, listed, signed, verified."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.quarantine import Json
from fedmed.wire.words import count

wheelhouse = typer.Typer(help="A folder of wheels to install from without a network.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The wheelhouse.")]


@wheelhouse.command()
def verify(
    folder: Folder,
    key: Annotated[
        str, typer.Option("--key", metavar="HEX", help="The release's public key, as you know it from elsewhere.")
    ],
    as_json: Json = False,
) -> None:
    """Check that nothing was altered, added or taken away since it was signed; do this before anything is installed."""
    from fedmed.errors import ConfigError
    from fedmed.identity.member import SIGNING_KEY
    from fedmed.operation.wheelhouse import check

    try:
        public = bytes.fromhex(key)
    except ValueError:
        public = b""
    if len(public) != SIGNING_KEY:
        raise ConfigError(f"--key {key[:80]!r} is no public key; one has {2 * SIGNING_KEY} hexadecimal digits")
    found = check(folder, public)
    facts = {"folder": str(folder.resolve()), "wheels": found.wheels, "bytes": found.bytes}
    told = f"{folder}: {found.wheels} wheels, {found.bytes / 1e6:.1f} MB, all as they were signed\n"
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else told)


@wheelhouse.command()
def requirements(folder: Folder) -> None:
    """Write requirements.txt from the wheels that are there: each with its version and digest."""
    from fedmed.operation.wheelhouse import REQUIREMENTS
    from fedmed.operation.wheelhouse import requirements as listed

    (folder / REQUIREMENTS).write_text(listed(folder))


@wheelhouse.command()
def sign(
    folder: Folder,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The release's key.")],
    as_json: Json = False,
) -> None:
    """List every file with its SHA-256, and sign the list."""
    from fedmed.identity.releases import ReleaseKey
    from fedmed.operation.wheelhouse import sign as put

    secret = ReleaseKey.load(key)
    files, public = put(folder, secret), secret.public.hex()
    told = f"{folder}: {count(files, 'file')} signed; verify with\n  fedmed wheelhouse verify {folder} --key {public}\n"
    sys.stdout.write(json.dumps({"files": files, "key": public}) + "\n" if as_json else told)


@wheelhouse.command("key")
def make_key(path: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")], as_json: Json = False) -> None:
    """Make a release's key; its public half is what clinics verify with."""
    from fedmed.identity.releases import ReleaseKey

    made = ReleaseKey.generate()
    made.save(path)
    sys.stdout.write(json.dumps({"key": made.public.hex()}) + "\n" if as_json else f"{made.public.hex()}\n")
