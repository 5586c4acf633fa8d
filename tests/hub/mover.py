"""A process that moves all studies to the archive and recalls them, again and again, until it is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from fedmed.clock import SystemClock
from fedmed.hub.archiving import open_archive
from fedmed.hub.folder import open_hub
from fedmed.store.archive.archive import Party


def main(clinic: Path) -> None:
    archive = open_archive(open_hub(clinic, SystemClock()), list, Party("north", "site", lambda said: None))
    archive.open()
    print("open", flush=True)
    while True:
        for group in archive.due().go:
            archive.move(group)
        for study in sorted({row.study for row in archive.index.rows()}):
            archive.recall(study)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
