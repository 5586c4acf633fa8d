"""What the fork server imports before any site process exists, named by its owner in FEDMED_PRELOAD.

The server is started with an empty first entry on its path, the folder one happens to stand in; its owner switches that off
(PYTHONSAFEPATH), so that a file there cannot stand in for a module.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from contextlib import suppress

VARIABLE = "FEDMED_PRELOAD"

if text := os.environ.pop(VARIABLE, None):
    root, *modules = json.loads(text)
    sys.path.insert(0, root)
    for module in modules:
        with suppress(ImportError):  # whoever calls the app is told what is missing
            importlib.import_module(module)
