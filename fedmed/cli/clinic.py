"""`fedmed clinic`: what a clinic's own staff run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

clinic = typer.Typer(help="Take part in a federation as a clinic.", no_args_is_help=True)


@clinic.callback()
def common() -> None:
    """Take part in a federation as a clinic."""


@clinic.command()
def doctor(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", envvar="FEDMED_CLINIC", help="The clinic's folder, there or to be made.")
    ] = Path("fedmed-clinic"),
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
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")] = False,
) -> None:
    """Check network, trust, clock and machine before anything is installed; say what to fix, and how long a round takes.

    Ends with 0 where all is well, 2 configuration, 10 warnings only, 11 network, 12 trust or clock, 13 this machine, 14 a
    check that broke; the first check that failed decides.
    """
    from fedmed.cli.doctor import run
    from fedmed.clinic.doctor.estimate import read_parameters
    from fedmed.clinic.doctor.examination import Asked
    from fedmed.clinic.doctor.settings import Given
    from fedmed.errors import ConfigError

    if lanes not in (16, 32):
        raise ConfigError(f"--lanes {lanes}; allowed: 16 or 32")
    given = Given(folder, host, port, proxy, ca, certificate, key)
    run(Asked(given, read_parameters(parameters), lanes), as_json)
