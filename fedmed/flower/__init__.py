"""The one adapter to Flower: no other room of the library imports flwr, and its private API stays in here.

Flower reports usage and looks for updates unless told not to; both are off before it is imported.
"""

import os

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
