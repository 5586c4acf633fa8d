"""The center's Flower ServerApp. All of it that matters is in the installed library: `fedmed.federation.run`."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedmed.config.loading import load
from fedmed.federation.begun import name_of
from fedmed.federation.epochs import Names
from fedmed.federation.journal import Journal
from fedmed.federation.meeting import Trust
from fedmed.federation.patience import Notes
from fedmed.federation.root import trainer
from fedmed.federation.run import run
from fedmed.flower.server import clock_of
from fedmed.flower.transport import Transport
from fedmed.store.commits import Commits

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the scenario of the run folder, from its last commit or from the start."""
    folder = Path(str(context.run_config["run-folder"]))
    clock = clock_of(grid)
    journal = Journal(folder, clock)
    try:
        scenario, sites = load(folder / "scenario.yaml"), int(str(context.run_config["sites"]))
        authority = context.run_config.get("authority")
        # its sites end with it, so that each start is a run of its own to them
        names = Names(str(context.run_config.get("federation")), name_of(scenario, clock))
        trust = Trust(Path(str(authority)).read_bytes(), names) if authority else None
        notes = Notes(folder) if context.run_config.get("measure-sites") else None
        held = context.run_config.get("root-folder")
        root = trainer(Path(str(held))) if held else None
        run(Transport(grid, clock), scenario, Commits(folder), clock, journal, sites, trust, notes=notes, root=root)
    finally:
        journal.close()
