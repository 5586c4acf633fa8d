"""`python -m fedmed.serving`: the child process in which a package is tried; see `fedmed.serving.testing`."""

from __future__ import annotations

import sys

from fedmed.serving.testing import child

child(sys.argv[1:])
