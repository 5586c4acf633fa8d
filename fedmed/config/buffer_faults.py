"""What a scenario with `federation.buffer` cannot have beside it: sums over sites that are named beforehand, a cohort of
another rule, and demands that would have a buffer wait for one site."""

from __future__ import annotations

from typing import Any

from fedmed.config.written import Found, Written

_WEIGHT = 0.5
"""Default of `quorum.data_weight`, which does not apply to a buffer."""


def buffer_faults(scenario: Any) -> Found:
    """Path of the key to mend and what to say, for each fault; none where the scenario, in plain values, has no buffer."""
    whole = Written(scenario)
    federation = whole.at("federation")
    if not federation.at("buffer").is_there:
        return
    yield from _size_faults(federation.at("buffer"))
    yield from _mask_faults(whole)
    yield from _quorum_faults(federation.at("quorum"))
    share = whole.at("strategy").at("options").at("fraction_train")
    if (asked := share.number(1.0)) is not None and asked != 1:
        yield share.path, f"got {asked:g}, and federation.buffer.concurrent says how many train at once; leave it out"
    learning = whole.at("topology").at("learning")
    if (how := learning.text("real")) is not None and how != "real":
        yield learning.path, f"got {how}; with federation.buffer allowed: real"


def _size_faults(buffer: Written) -> Found:
    size, concurrent = buffer.at("size").whole(), buffer.at("concurrent").whole()
    if size is not None and concurrent is not None and 1 <= concurrent < size:
        told = f"got {concurrent}, and a buffer is of {size} updates of as many sites; allowed: {size} or more, or absent"
        yield buffer.at("concurrent").path, told


def _mask_faults(whole: Written) -> Found:
    key, is_private = whole.at("privacy").at("secure_aggregation"), whole.at("privacy").at("differential_privacy").is_there
    mode = key.text("malicious")
    is_unmasked = whole.at("topology").at("masks").text() == "none" and not is_private
    if mode in ("malicious", "hbc") and not is_unmasked:
        told = f"got {mode}" if key.is_there else f"absent, which is {mode}"
        yield (
            key.path,
            f"{told}: a masked sum is over sites that are named before they train, and who is in a buffer shows when it is "
            "full; with federation.buffer allowed: off. Write it, or leave the buffer out",
        )


def _quorum_faults(quorum: Written) -> Found:
    weight, required = quorum.at("data_weight"), quorum.at("required")
    if (share := weight.number(_WEIGHT)) is not None and share != _WEIGHT:
        yield weight.path, f"got {share:g}; a buffer is not weighed against sites that still train: leave it out"
    if isinstance(required.value, list | tuple) and required.value:
        yield required.path, "names sites, and a buffer waits for no site by name; leave it out, or the buffer"
