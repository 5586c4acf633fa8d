"""What a service tells its own staff alone, and what its log says in its place: a text about data may name patients."""

from __future__ import annotations

from fedmed.errors import ConfigError, DataError, FedmedError

SEE = "its text may name files, so that `status` alone shows it"
_NAMING = (ConfigError, DataError, OSError, UnicodeError)
"""Of readers and files. What else is raised at a service quotes keys, members, runs and paths of the service's own."""


class Confided(str):
    """Shown by the status of a service, which its staff alone can read; a log has `instead`."""

    instead: str

    def __new__(cls, text: str, instead: str) -> Confided:
        """`text` for the staff."""
        made = super().__new__(cls, text)
        made.instead = instead
        return made


def for_log(text: str) -> str:
    """What a log may say of `text`."""
    return text.instead if isinstance(text, Confided) else text


def of_error(error: FedmedError | OSError, before: str = "") -> str:
    """An error with its kind, after `before`; confided where it, or one that it came from, is of data or files."""
    kind = f"{before}{type(error).__name__}"
    text, cause = f"{kind}: {error}", _naming(error)
    if cause is None:
        return text
    reason = f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else ""
    return Confided(text, f"{kind}{reason}: {SEE}")


def _naming(error: BaseException | None) -> BaseException | None:
    while error is not None and not isinstance(error, _NAMING):
        error = error.__cause__
    return error
