"""The first thing that a process does which shall run an app: it goes into its cell, and imports the rest in there."""

from __future__ import annotations

import importlib
import socket
import sys

from fedmed.confinement.cell import heard
from fedmed.confinement.entering import enter

if __name__ == "__main__":
    descriptor, cell, target, told = sys.argv[1:]
    entered = enter(heard(cell), int(descriptor))
    module, _, function = target.partition(":")
    getattr(importlib.import_module(module), function)(socket.socket(fileno=int(descriptor)), entered, told)
