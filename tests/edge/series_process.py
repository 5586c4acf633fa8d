"""A device that takes in series and looks at them, as a process that may be killed: `series_process BOX IMAGES`.

It takes in what IMAGES holds, all of it before it sorts any, then works until each series is told of; its records go into
BOX as an agent's do. `tests.faults.points` ends it around any commit of its spool.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fedmed.clock import SystemClock
from fedmed.edge.looking import RECORD
from fedmed.edge.records import Records
from fedmed.edge.series import Rule
from fedmed.store.spool.commits import Commits
from fedmed.store.spool.entry import RESULT
from tests.edge.series import Box
from tests.faults.points import around

QUIET_S = 0.2


def main() -> None:
    folder, images = map(Path, sys.argv[1:])
    Commits._commit = around("commit", Commits._commit)  # type: ignore[method-assign]
    clock = SystemClock()
    box = Box(folder, rule=Rule(quiet_s=QUIET_S), clock=clock)  # type: ignore[arg-type]
    records = Records(folder / "results")
    box.comes(path.read_bytes() for path in sorted(images.iterdir()))
    box.sorts()
    box.works()
    while box.gathers():
        clock.sleep(QUIET_S / 4)
        box.works()
    while (entry := box.spool.next([RESULT], clock.unix())) is not None:
        if entry.facts["form"] == RECORD:
            records.keep(entry, box.spool.content(entry))
        box.spool.done(entry.number)
    box.spool.close()


if __name__ == "__main__":
    main()
