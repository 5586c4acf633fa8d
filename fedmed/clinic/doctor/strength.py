"""Judges the machine for a model of a given size; sizes in octets."""

from __future__ import annotations

from fedmed.clinic.doctor.kernels import Ran
from fedmed.confinement.cell import NEEDED, TODO, Lacks
from fedmed.operation.doctor.finding import Finding, fail, ok, warn
from fedmed.operation.doctor.machine import Room
from fedmed.report.formats import data_size

WEIGHT = 4
"""Octets of a parameter, float32."""
ROOM, GOOD_ROOM = 5, 20
"""Models that the spool has to hold (the global one, the update, its lanes, a late one, a checkpoint), and better holds."""
ROOM_BESIDE = 10**9
"""For ledgers and logs."""
MEMORY, MEMORY_BESIDE = 6, 10**9
"""Models in memory (weights, gradients, two moments, update, lanes), and what the interpreter and libraries need."""
DESCRIPTORS = 1024


def room(found: Room, parameters: int) -> Finding:
    """Room for the spool."""
    model = WEIGHT * parameters
    least, good = ROOM * model + ROOM_BESIDE // 10, GOOD_ROOM * model + ROOM_BESIDE
    if found.free is None:
        return fail(
            "room", f"{found.place}: {found.fault}", "a folder that can be entered", "mend it, or name another folder"
        )
    got = f"{data_size(found.free)} free at {found.place}"
    todo = "make room, or name a folder on a larger disk"
    if found.free < least:
        return fail("room", got, f"{data_size(least)}; {data_size(good)} are better", todo)
    if found.free < good:
        return warn("room", got, f"{data_size(good)}", todo)
    return ok("room", got, data_size(good))


def memory(found: int | None, parameters: int) -> Finding:
    """Memory for training."""
    needed = MEMORY * WEIGHT * parameters + MEMORY_BESIDE
    if found is None:
        return ok("memory", "not told by this system", data_size(needed))
    if found < needed:
        todo = "end other programs, raise MemoryMax of the service, or add memory; activations of training come on top"
        return fail("memory", f"{data_size(found)} available", data_size(needed), todo)
    return ok("memory", f"{data_size(found)} available", data_size(needed))


def descriptors(found: int) -> Finding:
    """Open files and connections."""
    if 0 <= found < DESCRIPTORS:
        return warn("descriptors", f"{found}", f"{DESCRIPTORS}", "raise LimitNOFILE of the service (ulimit -n)")
    return ok("descriptors", f"{found}" if found >= 0 else "without limit", f"{DESCRIPTORS}")


def confinement(found: Lacks | str) -> Finding:
    """The cell that an app runs in: without network, keys or policy files."""
    check, allowed = "confinement", f"{', '.join(NEEDED)}; landlock besides"
    if isinstance(found, str):
        return fail(check, found, allowed, "mend that; until then no app can run here")
    told = "; ".join(f"no {name} ({why})" for name, why in found.items())
    todo = "; ".join(f"for {name}: {TODO[name]}" for name in found)
    if any(name in found for name in NEEDED):
        return fail(
            check, told, allowed, f"{todo}; or write `confinement: as-available` into clinic.yaml, and know the risk"
        )
    if found:
        return warn(check, told, allowed, todo)
    return ok(check, f"an app gets all of {', '.join(TODO)}", allowed)


def kernel(check: str, found: Ran, has_card: bool) -> Finding:
    """A kernel of the GPU: none is needed where there is no card."""
    if found.crash:
        todo = "mend the driver, or set FEDMED_BACKEND=numba and FEDMED_MASKS=cpu to leave the GPU alone"
        return fail(check, found.crash, "a kernel that runs, or none", todo)
    if found.why_not is None:
        return ok(check, "a kernel ran on the GPU, and its result is right")
    if has_card:
        return warn(
            check, found.why_not, "a kernel that runs on the GPU that is here", "mend driver and CuPy; until then CPU"
        )
    return ok(check, "no GPU here; the processor does it")


def vector_aes(found: Ran) -> Finding:
    """The processor's own AES; the library's cipher serves where it has none."""
    check, todo = "vector AES", "set FEDMED_KEYSTREAM=ctr, and report it to fedmed's makers"
    if found.crash:
        return fail(check, found.crash, "masks that are right, or the library's cipher", todo)
    if found.why_not is None:
        return ok(check, "the processor makes masks, and they are right")
    return ok(check, f"not used ({found.why_not}); the library's cipher makes masks, about half as fast")
