"""What simulated sites tell their own staff, which the center of a masked round never hears; the harness may look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedmed.errors import FederationError, StoreError

MOST = 10  # sites whose words are told


@dataclass(frozen=True)
class Log:
    """One site's own log."""

    path: Path

    def tell(self, reason: str) -> None:
        """Add a line. Raises StoreError where it cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(" ".join(reason.splitlines()) + "\n")
        except OSError as error:
            raise StoreError(f"the site's own log cannot be written: {error.strerror}; make room") from error

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self.path.stat().st_size if self.path.exists() else 0

    def last_line(self, since: int) -> str | None:
        """The last line that was begun after the first `since` bytes; None where there is none."""
        if self.size <= since:
            return None
        lines = self.path.read_bytes()[since:].decode("utf-8", "replace").splitlines()
        return lines[-1]


def log_of(ledgers: Path, number: int) -> Log:
    """The log of the `number`-th site of a run."""
    return Log(ledgers / f"{number:05d}.log")


class Listener:
    """Hears what sites tell their staff from now on."""

    def __init__(self, ledgers: Path, names: Sequence[str]) -> None:
        self._logs = {name: log_of(ledgers, number) for number, name in enumerate(names)}
        self._began = {name: log.size for name, log in self._logs.items()}

    def last_words(self) -> Mapping[str, str]:
        """The last line of each site that has told anything, by its name."""
        found = {name: log.last_line(self._began[name]) for name, log in self._logs.items()}
        return {name: line for name, line in found.items() if line is not None}

    def said(self) -> list[tuple[str, list[str]]]:
        """Last lines and the sites that said each, the most frequent first, `MOST` at most."""
        words: dict[str, list[str]] = {}
        for name, line in self.last_words().items():
            words.setdefault(line, []).append(name)
        return sorted(words.items(), key=lambda each: -len(each[1]))[:MOST]

    def explain(self, error: FederationError) -> None:
        """Add to an error's text what the sites' own logs say, for whoever runs all of them."""
        if not (words := self.last_words()):
            return
        lines = [f"  {name}: {line}" for name, line in sorted(words.items())[:MOST]]
        if len(words) > MOST:
            lines.append(f"  and {len(words) - MOST} more")
        error.args = ("\n".join([str(error), "The sites' own logs say last:", *lines]),)
