"""Results as JSON on the device itself, a file each in a folder a day: for whoever reads them without a PACS."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.store.disk import Disk, replace_file
from fedmed.store.spool.entry import Entry


class Records:
    """A folder; written to by one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, entry: Entry, content: bytes) -> Path:
        """Put a result there, on the disk when this returns; the same one again is the same file. Raises StoreError."""
        day = datetime.fromtimestamp(entry.unix, timezone.utc).strftime("%Y-%m-%d")
        path, disk = self.folder / day / f"{entry.digest[:32]}.json", Disk()
        try:
            disk.make_folder(path.parent)
            replace_file(disk, path, content)
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror}); make room or mend the disk") from error
        return path
