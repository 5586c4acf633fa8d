"""How large a machine is, out of its readings: what a device tells its hub, so that work is placed where it fits."""

from __future__ import annotations

import os
from collections.abc import Iterable

from fedmed.health.readings import Reading


def sizes(readings: Iterable[Reading]) -> dict[str, int]:
    """Processors (`cores`), and bytes of `memory`, `disk` and `gpu`, each only where it could be read.

    `cards` is the number of GPUs; with cards and without `gpu` they have no memory of their own, as on a Jetson.
    """
    known = {(each.name, each.device): each.value for each in readings if each.value is not None}
    found = {"cores": os.cpu_count() or 1}
    for name, quantity in (("memory", "memory_total"), ("disk", "disk_total")):
        if (value := known.get((quantity, ""))) is not None:
            found[name] = int(value)
    cards = {device for _, device in known if device.startswith("gpu")}
    cards -= {device for device in cards if known.get(("gpu_reachable", device)) == 0}
    own = [known.get((f"gpu_memory_{part}", device)) for device in cards for part in ("used", "free")]
    found["cards"] = len(cards)
    if (memory := sum(int(each) for each in own if each is not None)) > 0:
        found["gpu"] = memory
    return found
