"""`fedmed clinic runs RUN`: what a run was worth to this clinic, from its own folder alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fedmed.cli import listing
from fedmed.clinic.folder import open_clinic
from fedmed.clock import SystemClock
from fedmed.report import own_gain
from fedmed.store.gains import Gain, Gains
from fedmed.wire.visible import visible


def show_gain(at: Path, run: str, html: Path | None, as_json: bool) -> None:
    """Show the newest run of that name. Raises ConfigError where none was noted, StoreError."""
    folder = open_clinic(at, SystemClock())
    gain = Gains(folder.path).the_one(run)
    if html is not None:
        own_gain.write_page(gain, folder.config.name, folder.config.federation, html)
    if as_json:
        sys.stdout.write(json.dumps(gain.as_json()) + "\n")
    elif html is not None:
        sys.stdout.write(f"{html.resolve()}\n")
    else:
        sys.stdout.write(f"{visible(own_gain.sentence(gain))}\n")
        listing.show(_rows(gain), False)


def _rows(gain: Gain) -> list[dict[str, str]]:
    names = gain.seen[-1].figures
    return [{"after round": str(each.round), **own_gain.shown(each, names)} for each in gain.seen]
