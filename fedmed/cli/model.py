"""`fedmed model`: a trained model made ready for devices; the work is in `fedmed.cli.packaging`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

model = typer.Typer(help="A model for devices: export, quantise, check, choose a precision.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]
Folder = Annotated[Path, typer.Argument(metavar="PACKAGE", help="The folder of a package.")]
Scenario = Annotated[str, typer.Option(help="Which cases: a built-in scenario, or a file.")]
Data = Annotated[Path | None, typer.Option(envvar="FEDMED_DATA", help="Folder that holds the data sets.")]
Site = Annotated[str | None, typer.Option(help="The cases of this site alone.")]


@model.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run, or what `center models export` wrote.")],
    out: Annotated[Path, typer.Argument(metavar="PACKAGE", help="A new folder.")],
    name: Annotated[str, typer.Option(help="What the model is called on devices.")],
    version: Annotated[str, typer.Option(help="Which release of it this is.")] = "1",
    classes: Annotated[str, typer.Option(metavar="A,B,...", help="In their order; as the run's report when absent.")] = "",
    scenario: Annotated[Path | None, typer.Option(help="For an exported model: of the run that made it.")] = None,
    pipeline: Annotated[Path | None, typer.Option(metavar="FILE", help="How images become tensors, as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Make a package of a trained model: ONNX, checked against PyTorch, with a card and golden cases."""
    from fedmed.cli.packaging import Named, export_model

    export_model(source, out, Named(name, version, classes, scenario, pipeline), as_json)


@model.command()
def quantise(
    package: Folder,
    scenario: Scenario,
    data: Data = None,
    site: Site = None,
    cases: Annotated[int, typer.Option(min=1, help="Of the training cases, how many.")] = 256,
    ranges: Annotated[str, typer.Option(help="minmax, or percentile to leave out outliers.")] = "minmax",
    as_json: Json = False,
) -> None:
    """Add int8 models to a package, calibrated on training cases of this clinic."""
    from fedmed.cli.packaging import Own, quantise_model

    quantise_model(package, Own(scenario, data, site, "train"), cases, ranges, as_json)


@model.command()
def check(
    package: Folder,
    backend: Annotated[str, typer.Option(help="auto, or one of cpu, cuda, tensorrt.")] = "auto",
    limit: Annotated[float, typer.Option(metavar="SECONDS", help="For one self-test.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Check every file of a package and run its self-test in each precision; a failure ends with 5."""
    from fedmed.cli.packaging import check_package

    check_package(package, backend, limit, as_json)


@model.command()
def ladder(
    package: Folder,
    scenario: Scenario,
    data: Data = None,
    site: Site = None,
    part: Annotated[str, typer.Option(help="The check set: validation or test.")] = "validation",
    measure: Annotated[str, typer.Option(help="auc, accuracy or dice; that of the kind of task when absent.")] = "",
    runs: Annotated[int, typer.Option(min=1, help="Calls that are timed.")] = 100,
    as_json: Json = False,
) -> None:
    """Measure each precision on this machine, and choose the fastest that loses at most a point."""
    from fedmed.cli.packaging import Own, climb

    climb(package, Own(scenario, data, site, part), measure, runs, as_json)
