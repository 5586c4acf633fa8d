"""What the center offers to run, read over the clinic's own line; nothing of it is believed but its digest."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from fedmed.clinic.dialing import Line
from fedmed.errors import ConfigError, ProtocolRefused, VersionRefused
from fedmed.identity.proposal import App, Offered, read_offered

PROPOSALS, APP = "/fedmed/proposals", "/fedmed/app"


@dataclass(frozen=True)
class Offers:
    """What was offered, and why the rest could not be read."""

    found: tuple[Offered, ...]
    faults: tuple[str, ...]

    def named(self, run: str) -> list[Offered]:
        """The offers of a run's name, or of `RUN@` and its digest's first digits."""
        name, _, digits = run.partition("@")
        return [each for each in self.found if each.proposal.run == name and each.digest.startswith(digits)]

    @property
    def there(self) -> str:
        """All that is offered, for people."""
        return ", ".join(f"{each.proposal.run}@{each.digest[:12]}" for each in self.found) or "nothing"

    def the_one(self, named: str) -> Offered:
        """The one offer that is called so. Raises ConfigError, ProtocolRefused."""
        fitting = self.named(named)
        if len(fitting) == 1:
            return fitting[0]
        if not fitting and self.faults:
            raise ProtocolRefused(f"no offer of run {named[:80]!r} can be read here: {'; '.join(self.faults)}")
        if not fitting:
            raise ConfigError(
                f"the center does not ask for a run {named[:80]!r} yet; it offers {self.there} (fedmed clinic runs); "
                "--wait waits for it"
            )
        raise ConfigError(f"the center offers {len(fitting)} runs called {named[:80]!r}; it offers {self.there}")


def listed(line: Line) -> Offers:
    """All that is offered now, by name. Raises Unreachable, JoinRefused."""
    _, answer = line.ask("GET", PROPOSALS)
    found, faults = list[Offered](), list[str]()
    said = answer.get("proposals")
    for each in said if isinstance(said, list) else []:
        try:
            found.append(read_offered(each))
        except (ProtocolRefused, VersionRefused) as error:
            faults.append(str(error))
    return Offers(tuple(sorted(found, key=lambda each: each.reference)), tuple(faults))


def fetched(line: Line, app: App) -> bytes:
    """The bundle of an app, not compared with its digest yet. Raises Unreachable, JoinRefused, ProtocolRefused."""
    _, answer = line.ask("GET", f"{APP}?digest={app.digest}")
    said = answer.get("app")
    try:
        if isinstance(said, str):
            return base64.b64decode(said, validate=True)
    except ValueError:
        pass
    raise ProtocolRefused("the center sent no app; ask its operator")
