"""What the commands of `fedmed audit` do."""

from __future__ import annotations

import json
import sys
from collections import deque
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fedmed.cli import listing
from fedmed.clock import SystemClock
from fedmed.errors import ConfigError, StoreError
from fedmed.identity.heads import SignedHead
from fedmed.identity.member import FINGERPRINT
from fedmed.identity.pins import words
from fedmed.store.audit import archiving, checking, exporting, proofs, reading
from fedmed.store.audit.checking import Checked
from fedmed.store.audit.event import Event
from fedmed.store.audit.log import AuditLog
from fedmed.wire.canonical import canonical
from fedmed.wire.visible import visible
from fedmed.wire.words import count


def verify(path: Path, archive: Path | None, log: str | None, heads: list[Path], as_json: bool) -> None:
    """Say that all is as it was written. Raises DataError, ConfigError, StoreError."""
    now, fingerprint = SystemClock().unix(), _fingerprint(log)
    if path.is_file():
        if heads:
            raise ConfigError("--head needs the whole log; give its folder, not one segment")
        found = checking.check_segment(path, now, fingerprint)
    else:
        kept = [(str(each), proofs.load(each)) for each in heads]
        found = checking.check(path, now, archive, fingerprint, kept)
    _say(found.as_json(), as_json, "\n".join(_told(found, fingerprint is not None)))


def prove(path: Path, index: int, against: int | None, out: Path, archive: Path | None, as_json: bool) -> None:
    """Write a proof. Raises DataError, StoreError."""
    proof = proofs.make(reading.opened(path, archive), index, against)
    try:
        out.write_bytes(canonical(proof) + b"\n")
    except OSError as error:
        raise StoreError(f"{out} cannot be written ({error.strerror or error}); name another place with --out") from error
    facts = {"proof": str(out), "index": index, "size": proof["size"], "head": proof["head"]}
    _say(facts, as_json, f"{out}: entry {index} of {proof['size']}, under the head of {_entries(proof['head']['size'])}")


def check_proof(file: Path, log: str | None, as_json: bool) -> None:
    """Show what a proof proves. Raises DataError, ConfigError, StoreError."""
    found = proofs.check(proofs.load(file), str(file), _fingerprint(log))
    facts = {
        "status": "ok",
        "owner": found.owner.name,
        "log": found.owner.fingerprint.hex(),
        "words": words(found.owner.fingerprint),
        "index": found.index,
        "size": found.size,
        "root": found.root.hex(),
        "head": found.head.as_json(),
        "event": found.event.as_json(),
    }
    lines = [
        f"proved: entry {found.index} of {found.size}, root {found.root.hex()}",
        f"under the head that {visible(found.owner.name)} signed: {_signed(found.head)}",
        _whose(found.owner.name, found.owner.fingerprint, log is not None),
        *(f"  {name}: {value}" for name, value in _row(found.index, found.event).items() if value),
    ]
    _say(facts, as_json, "\n".join(lines))


def export(path: Path, to: Path, since: str | None, until: str | None, archive: Path | None, as_json: bool) -> None:
    """Write entries of a stretch of time. Raises DataError, ConfigError, StoreError."""
    times = _time("--from", since), _time("--until", until)
    done = exporting.export(reading.opened(path, archive), to, *times)
    files = [str(each) for each in done.proofs]
    facts = {"file": str(done.path), "events": done.events, "first": done.first, "last": done.last}
    facts |= {"proofs": files, "unproved": done.unproved}
    text = f"{done.path}: {_entries(done.events)}, {done.first} to {done.last}; proofs: {', '.join(files) or 'none'}"
    newer = f"\nnewer than the newest signed head, and not proved: {done.unproved}" if done.unproved else ""
    _say(facts, as_json, text + newer)


def show(path: Path, last: int, archive: Path | None, as_json: bool) -> None:
    """Show the newest entries. Raises DataError, StoreError."""
    opened = reading.opened(path, archive)
    found = deque(opened.events(max(opened.size - last, opened.anchors.start)), last)
    if as_json:
        rows = [{"index": number, **each.as_json()} for number, each in found]
        sys.stdout.write(json.dumps({"size": opened.size, "events": rows}, ensure_ascii=False) + "\n")
    elif found:
        listing.show([_row(number, each) for number, each in found], as_json=False)
    else:
        sys.stdout.write("nothing has happened yet\n")


def archive(path: Path, to: Path | None, as_json: bool) -> None:
    """Compress closed segments. Raises DataError, StoreError."""
    done = [str(each) for each in archiving.archive(path, to)]
    _say({"archived": done}, as_json, "\n".join(done) if done else "no closed segment was left to archive")


def prune(path: Path, who: str, years: float, archive: Path | None, as_json: bool) -> None:
    """Take away what is older than retention. Raises ConfigError, DataError, StoreError."""
    retention, clock = archiving.Retention(years), SystemClock()
    done = archiving.prune(AuditLog(path, clock), who, clock.unix(), retention, archive)
    gone = [{"first": each.start, "size": each.size, "head": each.head.as_json()} for each in done.segments]
    text = f"{count(len(gone), 'segment')} taken away; {done.kept_because}"
    _say({"pruned": gone, "kept_because": done.kept_because}, as_json, text)


def _told(found: Checked, is_known: bool) -> list[str]:
    lines = [f"{_entries(found.size)}, all as written"]
    if found.start:
        lines.append(f"those before entry {found.start} are not here; anchors vouch for them")
    if found.newest is None:
        lines.append("no head was signed yet")
    else:
        lines.append(f"newest head: {_signed(found.newest)}")
    if found.newest is not None and found.unsigned:
        lines.append(f"newer than that: {found.unsigned}")
    lines.append(f"heads from elsewhere that agree: {found.heads}" if found.heads else _ALONE)
    lines.append(_whose(found.owner.name, found.owner.fingerprint, is_known))
    return [*lines, *(f"note: {visible(note)}" for note in found.notes)]


def _signed(head: SignedHead) -> str:
    return f"{_entries(head.size)}, root {head.root.hex()}, at {_when(head.unix_ms / 1000)}"


def _entries(size: int) -> str:
    return count(size, "entry", "entries")


_ALONE = "no head from elsewhere was compared: whoever has the owner's keys could have written all of it anew (--head FILE)"


def _whose(name: str, fingerprint: bytes, is_known: bool) -> str:
    said = f"signed by {visible(name)}, {fingerprint.hex()}"
    return said if is_known else f"{said}; compare the six words with what you know: {words(fingerprint)}"


def _row(number: int, each: Event) -> dict[str, str]:
    return {
        "entry": str(number),
        "when": _when(each.unix),
        "who": each.who,
        "role": each.role,
        "action": each.action,
        "resource": each.resource,
        "round": "" if each.round is None else str(each.round),
        "outcome": each.outcome,
        "reason": each.reason,
        "details": " ".join(f"{name}={value}" for name, value in sorted(each.details.items())),
    }


def _fingerprint(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != FINGERPRINT:
        raise ConfigError(f"--log {text[:80]!r}; allowed are {2 * FINGERPRINT} hexadecimal digits, a member's fingerprint")
    return found


def _time(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{option} {text[:80]!r}; allowed is a day or a time, such as 2026-11-30 or 2026-11-30T12:00"
        ) from error
    return (when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)).timestamp()


def _when(unix: float) -> str:
    try:
        return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{unix:.0f} s after 1970"


def _say(facts: dict[str, Any], as_json: bool, text: str) -> None:
    sys.stdout.write((json.dumps(facts, ensure_ascii=False) if as_json else text) + "\n")
