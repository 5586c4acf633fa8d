"""The files of a log: `events-START.jsonl`, growing or closed, and `events-START.jsonl.xz` once it is archived."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.store import chain
from fedmed.store.audit import event
from fedmed.store.audit.anchors import Anchor
from fedmed.store.audit.event import Event
from fedmed.wire.tensors import sha256


def path_of(folder: Path, start: int) -> Path:
    """Of the segment that begins after `start` entries."""
    return folder / f"events-{start:012d}.jsonl"


def archived(path: Path) -> Path:
    """The same, compressed."""
    return path.with_name(f"{path.name}.xz")


def anchor_beside(path: Path) -> Path:
    """The anchor that goes along with an archived segment."""
    return path.with_name(f"{path.name}.anchor.json")


def lines_of(folder: Path, anchor: Anchor, archive: Path | None = None) -> list[bytes]:
    """The lines of a closed segment, as a whole what the anchor says; looked for in `folder`, then in `archive`.

    Raises StoreError where it is neither here nor there, or a byte of it differs.
    """
    plain = path_of(folder, anchor.start)
    places = [plain, archived(plain), *([archive / archived(plain).name] if archive is not None else [])]
    found = next((path for path in places if path.exists()), None)
    if found is None:
        raise StoreError(
            f"{plain} is gone, and only retention may take a segment away (`fedmed audit prune`); put it back, or name the "
            "folder it was moved to with --archive"
        )
    return content_of(found, anchor)


def content_of(path: Path, anchor: Anchor) -> list[bytes]:
    """The lines in a closed segment's file, compressed or not. Raises StoreError where a byte is not what was closed."""
    try:
        with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as file:
            content = file.read(anchor.bytes + 1)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise StoreError(f"{path} cannot be read ({error}); put a copy of it back") from error
    if len(content) != anchor.bytes or sha256(content) != anchor.sha256:
        raise _difference(path, content, anchor)
    return content.splitlines(keepends=True)


def events_of(path: Path, lines: Sequence[bytes], before: str, known: tuple[int, str] = (0, chain.FIRST)) -> list[Event]:
    """What lines tell, each digest checked. Raises StoreError naming the line."""
    return chain.verify_lines(path, lines, event.read, first=before, known=known)


def _difference(path: Path, content: bytes, anchor: Anchor) -> StoreError:
    """What is wrong: which line, where that can be said."""
    lines, count = content.splitlines(keepends=True), anchor.size - anchor.start
    try:
        events_of(path, lines, anchor.before, (count, anchor.last))
    except StoreError as error:
        return error
    more = "at least " if len(content) > anchor.bytes else ""
    return StoreError(
        f"{path} has {more}{len(content)} bytes and {len(lines)} lines; {anchor.bytes} bytes and {count} lines were closed: "
        "it has been changed. Put a copy of it back"
    )
