"""One look: an image, prepared, that a device asks others to look at. What it is called, and how large it may be. No I/O.

A look is named by the digest of the package and of the input, so that asking twice is asking once. The input is the model's:
pixels, and nothing of whose they are. It is held in memory alone; its device has the image in its spool until it has the
answer, and sends it again to a hub that was started anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fedmed.hub.placing import LOOK
from fedmed.wire.canonical import digest

METHODS = ("ask", "unask", "work", "input", "answer")
"""Calls about looks; the first two of who asks, the others of who looks."""
MOST_TENSOR = 16 << 20
"""Bytes of an input, and of its logits: 2048 x 2048 float32."""
MOST_OPEN, MOST_HELD = 8, 256 << 20
"""Looks that one device has asked for and not fetched; bytes of all inputs and answers in a hub's memory."""
FORGET_S = 150.0
"""A look that nobody asks for any more is given up."""
LOOK_S = 60.0
"""A node that has not answered by then has failed, whatever its heartbeats say; it hears of the first look with one."""
GRACE_S = 10.0
"""For so long a hub that was started anew waits for answers of looks that it had given out."""
MOST_FAILURES = 6
"""Of one look, restarts included: nodes that had it and died, failed or said nothing. It may be what hurts them."""
BUSY_S = 300.0
"""After the last question devices are told to be ready for the next for so long."""
TASK = re.compile(re.escape(LOOK) + r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}:[0-9a-f]{32}")
OFF, ON, NOW = "off", "on", "now"
"""What a heartbeat's answer says: nothing is placed here; a device may ask; there is, or soon may be, something to do."""


def digest_of(package: str, content: str) -> str:
    """What names a look: of a package's digest and its input's SHA-256 (hexadecimal)."""
    return digest({"input": content, "package": package})


def name_of(asker: str, task: str) -> str:
    """The name of a task of the placement, from who asks and `digest_of`."""
    return f"{LOOK}{asker}:{task[:32]}"


def asker_in(name: str) -> str:
    """Who asks."""
    return name.split(":")[1]


@dataclass
class Look:
    """One, as the hub holds it."""

    name: str
    task: str
    package: str
    size: int
    """Bytes of its input; 0 where the hub has none, and only the answer."""
    asked_at: float
    content: bytearray = field(default_factory=bytearray, repr=False)
    attempt: int = 0
    node: str = ""
    """The newest that is in the journal: nothing else was ever given out."""
    answer: bytes | None = field(default=None, repr=False)
    failures: int = 0
    is_given_back: bool = False
    """Whether `node` gave it back for its own images' sake."""
    refused: frozenset[str] = frozenset()
    """Nodes whose answer was none, as who asked says."""
    by: str = ""
    precision: str = ""

    @property
    def failed(self) -> int:
        """Failures, that of the newest node included where it has neither answered nor given it back."""
        return self.failures + (self.node != "" and self.answer is None and not self.is_given_back)

    @property
    def is_whole(self) -> bool:
        """Whether its input is here."""
        return len(self.content) == self.size

    @property
    def held(self) -> int:
        """Bytes of memory that it takes, or will."""
        return self.size + len(self.answer or b"")
