"""The `fedmed` command. Only this room prints; heavy packages are imported by the command that needs them."""

from __future__ import annotations

import sys

from fedmed.errors import FedmedError


def main() -> None:
    """Run the command line; a fedmed error is one message and its exit code, never a traceback."""
    from fedmed.cli.app import call

    try:
        sys.exit(call())
    except FedmedError as error:
        sys.stderr.write(f"fedmed: {error}\n")
        sys.exit(error.exit_code)
