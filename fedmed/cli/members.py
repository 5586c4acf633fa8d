"""`fedmed clinic members`: the pins of one clinic, set after six words were compared by telephone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fedmed.cli import asking, listing
from fedmed.clinic import colleagues
from fedmed.clinic.colleagues import Colleague
from fedmed.clinic.folder import open_clinic
from fedmed.clock import SystemClock
from fedmed.errors import JoinRefused, Unreachable
from fedmed.identity.member import Identity
from fedmed.identity.pins import PinRefused, words


def show_members(path: Path, as_json: bool) -> None:
    """List members and pins; without the center, pins alone."""
    folder = open_clinic(path, SystemClock())
    try:
        members = colleagues.listed(folder)
    except (Unreachable, JoinRefused) as error:
        sys.stderr.write(f"only those approved here are shown: {error}\n")
        members = []
    own = folder.keys().fingerprint
    rows = [_facts(each, own) for each in colleagues.beside_pins(members, folder.pins())]
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
    elif not rows:
        sys.stdout.write(f"nobody is approved yet; this clinic's own six words are: {words(own)}\n")
    else:
        listing.show([{key: str(row[key]) for key in ("name", "standing", "words")} for row in rows], as_json)


def approve(path: Path, name: str, typed: str | None, certificate: Path | None, as_json: bool) -> None:
    """Pin a member whose words were typed. Raises PinRefused where they differ, or its name is pinned with other keys."""
    folder = open_clinic(path, SystemClock())
    found = [colleagues.from_file(folder, certificate)] if certificate else colleagues.listed(folder)
    member = colleagues.the_one(found, name)
    if typed is None:
        asking.say(telephone(member))
        typed = asking.line("Type the words that it reads to you")
    compare(member, typed)
    folder.pins().add(member)
    facts = {"name": name, "approved": True, "words": words(member.fingerprint)}
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else pinned(name))


def telephone(member: Identity) -> str:
    """What to do before one types a member's words."""
    theirs = words(member.fingerprint)
    return f"Telephone {member.name}, by a number that you knew before. Its own six words must be: {theirs}"


def compare(member: Identity, typed: str) -> None:
    """Raise PinRefused where what was typed is not a member's six words."""
    theirs = words(member.fingerprint)
    if typed.lower().split() != theirs.split():
        raise PinRefused(
            f"the words typed are not those of the keys that {member.name!r} is listed with: {theirs!r}. Where it reads "
            "others, somebody put other keys in its place: approve nothing, and tell the other clinics"
        )


def pinned(name: str) -> str:
    """What is said of a member that was approved."""
    return f"{name} is approved: sums with it are accepted from the next epoch on\n"


def remove(path: Path, name: str, as_json: bool) -> None:
    """Take a pin away. Raises PinRefused where there is none."""
    gone = colleagues.remove(open_clinic(path, SystemClock()).pins(), name)
    said = f"{name} is no longer approved: a roster with it is refused from the next epoch on\n"
    facts = {"name": name, "approved": False, "words": words(gone.fingerprint)}
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else said)


def _facts(each: Colleague, own: bytes) -> dict[str, Any]:
    standing = "approved" if each.approved else "not approved"
    if each.conflict:
        standing = "OTHER KEYS than those approved under this name"
    if each.identity.fingerprint == own:
        standing = f"this clinic, {standing}"
    fingerprint = each.identity.fingerprint.hex()
    return {
        "name": each.identity.name,
        "standing": standing,
        "approved": each.approved,
        "words": each.words,
        "fingerprint": fingerprint,
    }
