"""`fedmed clinic join`: what the person who runs it sees while it waits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fedmed.cli.asking import Line
from fedmed.clinic.joining import Joined, Waiting, join
from fedmed.clock import SystemClock
from fedmed.errors import ConfigError
from fedmed.identity.authority import day
from fedmed.identity.joinfile import MAX_BYTES
from fedmed.identity.pins import words


def run(file: Path, at: Path, proxy: str | None, wait: bool, as_json: bool) -> None:
    """Join. Raises as `fedmed.clinic.joining.join`, and ConfigError for a file that cannot be read."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); give the join file that the center sent") from error
    screen = _Screen()
    try:
        found = join(content, at, proxy, SystemClock(), screen.tell, wait)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; run the same command again, and it goes on with the same words\n")
        raise
    finally:
        screen.line.end()
    if found is None:
        _say_waiting(screen.last, as_json)
    else:
        _say_joined(found, at, as_json)


class _Screen:
    """Standard error: the words once, then how it stands."""

    def __init__(self) -> None:
        self.last: Waiting | None = None
        self.line = Line()

    def tell(self, waiting: Waiting) -> None:
        """Show how it stands now."""
        if self.last is None:
            sys.stderr.write(
                f"{waiting.name} asks to join {waiting.federation}. Read these six words to the center's operator:\n\n"
                f"    {waiting.words}\n\n"
            )
        self.line.show(_standing(waiting), bool(waiting.trouble))
        self.last = waiting


def _standing(waiting: Waiting) -> str:
    days, hours = divmod(int(waiting.left_s) // 3600, 24)
    left = f"{days} days {hours} h" if days else f"{hours} h {int(waiting.left_s) // 60 % 60} min"
    return f"waiting for admission, {left} left" if not waiting.trouble else f"trying again, {left} left: {waiting.trouble}"


def _say_waiting(waiting: Waiting | None, as_json: bool) -> None:
    if waiting is None:
        return
    if as_json:
        facts = {"state": "waiting", "name": waiting.name, "words": waiting.words, "left_s": int(waiting.left_s)}
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        sys.stdout.write("once the center has admitted this clinic, run the same command again\n")


def _say_joined(found: Joined, at: Path, as_json: bool) -> None:
    config, member, own = found.folder.config, found.member, words(found.folder.keys().fingerprint)
    if as_json:
        facts = {"state": "joined", "already": found.already, "name": config.name, "federation": config.federation}
        facts |= {"folder": str(at.resolve()), "until": int(member.not_after), "own_words": own}
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    begins = f"{at} had joined already: " if found.already else f"{at}: joined; "
    sys.stdout.write(
        f"{begins}{config.name} in {config.federation}, certificate valid until {day(member.not_after)}\n"
        f"other clinics will telephone; its own six words, for them: {own}\n"
        f"next, once the center has asked for a run: fedmed clinic approve RUN --at {at}\n"
    )
