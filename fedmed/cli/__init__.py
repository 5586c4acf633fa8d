"""The `fedmed` command. Only this room prints; heavy packages are imported by the command that needs them."""

from __future__ import annotations

import sys

from fedmed.errors import FedmedError
from fedmed.wire.visible import visible


def main() -> None:
    """Run the command line; a fedmed error is one message and its exit code, never a traceback."""
    from fedmed.cli.app import call

    try:
        sys.exit(call())
    except FedmedError as error:
        # A line at a time, for what a center or a file said may be in it, and nothing of that steers a terminal.
        sys.stderr.write("\n".join(map(visible, f"fedmed: {error}".split("\n"))) + "\n")
        sys.exit(error.exit_code)
