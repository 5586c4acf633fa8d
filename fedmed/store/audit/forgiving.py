"""A clinic accepts a log that became shorter, as after the center was restored from a backup: a person's word, kept."""

from __future__ import annotations

from pathlib import Path

from fedmed.errors import ConfigError, StoreError
from fedmed.identity import files
from fedmed.store.audit.watch import Watch


def set_aside(watch: Watch, unix: float) -> Path:
    """Put what was watched aside, as evidence, and begin to watch anew; where it lies now.

    Whoever does this has heard from the center's operator why the log is shorter: two signatures prove that it is. Raises
    ConfigError where nothing was accused, StoreError.
    """
    if not watch.state.accusations:
        raise ConfigError(f"{watch.path}: the center's log is accused of nothing; there is nothing to forgive")
    aside = watch.path.with_name(f"{watch.path.stem}-{int(unix)}{watch.path.suffix}")
    try:
        if aside.exists():
            raise StoreError(f"{aside} is there already; try again in a second")
        watch.path.rename(aside)
        files.sync_folder(aside.parent)
    except OSError as error:
        raise StoreError(f"{watch.path} cannot be put aside ({error.strerror})") from error
    return aside
