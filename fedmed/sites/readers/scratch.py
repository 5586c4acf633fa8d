"""A temporary folder for synthetic hospitals, and what is said when it cannot hold them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedmed.errors import DataError, first_line


@contextmanager
def scratch(name: str, megabytes: float) -> Iterator[Path]:
    """A folder that is gone afterwards. Raises DataError, with the room that is needed, where the disk refuses."""
    try:
        with tempfile.TemporaryDirectory(prefix=f"fedmed-{name}-") as folder:
            yield Path(folder)
    except OSError as error:
        raise DataError(
            f"the synthetic hospitals (about {megabytes:.0f} MB for as long as they are read) cannot be "
            f"written to the temporary folder {tempfile.gettempdir()}: {first_line(error)}; make room or set TMPDIR"
        ) from error
