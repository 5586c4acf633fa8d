"""What machines can do: those built in, as a scenario changes them, resolved to plain numbers with the source of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fedmed.config.allowed import nearest
from fedmed.config.document import Path
from fedmed.config.topology import Machine, Precision, Topology
from fedmed.errors import ConfigError
from fedmed.twin.builtin import Built, Source, machines

PASSES = 3
"""Training does three times the operations of a forward pass: backward computes gradients of inputs and of weights (Kaplan
et al. 2020, section 2.1)."""
LEAST_SPEED, MOST_SPEED, MOST = 1e6, 1e18, 1e15
"""Operations a second that a machine may have, and the most of anything else of it, in its base unit."""
_OWN: Source = ("scenario", "topology.machines")


@dataclass(frozen=True)
class Profile:
    """One machine, nothing left open."""

    name: str
    what: str
    speed: Mapping[Precision, float]
    """Peak operations a second, dense."""
    used: Mapping[Precision, float]
    """Share of the peak that training reaches, in 0..1; for a precision that is not there that of `auto`."""
    auto: Precision
    """What `training.precision: auto` comes to."""
    memory: float
    """Bytes that a process which trains can have."""
    bandwidth: float
    """Bytes a second between its memory and what computes."""
    power: float
    """Watts while it works."""
    idle: float
    """Watts while it does not."""
    price: float
    step: float | None
    """Seconds of one optimiser step of this scenario, where it was measured."""
    sources: Mapping[str, Source]
    """Of each number, by key: `memory`, `speed.fp16`."""

    def precision(self, training: str = "auto") -> Precision:
        """What `training.precision` comes to here; convolutions in float32 run in TF32 where there is one (PyTorch's
        default since 1.7, `torch.backends.cudnn.allow_tf32`)."""
        if training == "auto":
            return self.auto
        return "tf32" if "tf32" in self.speed else "fp32"

    def fits(self, needed: float) -> bool:
        """Whether training that needs so many bytes can be done here."""
        return needed <= self.memory

    def rate(self, precision: Precision) -> float:
        """Operations a second that training reaches. Raises ConfigError for a precision that it has not."""
        if precision not in self.speed:
            raise ConfigError(f"{self.name} has no speed in {precision}; it has {', '.join(self.speed)}")
        return self.speed[precision] * self.used.get(precision, self.used[self.auto])

    def seconds(self, operations: float, cases: float, training: str = "auto") -> float:
        """To train once on `cases` of so many `operations` forward each: 3 x operations x cases / (peak x used)."""
        return PASSES * operations * cases / self.rate(self.precision(training))


def names() -> tuple[str, ...]:
    """Of the built-in profiles; what `fedmed.config.loading.load` looks up machines in."""
    return tuple(machines().machines)


def built_in() -> dict[str, Profile]:
    """The built-in profiles by name."""
    return {name: _resolved(name, None, built) for name, built in machines().machines.items()}


def profiles_of(topology: Topology) -> dict[str, Profile]:
    """Every profile that `topology` may name: built in, and its own. Raises ConfigError with all faults of its machines."""
    if found := list(faults(topology)):
        raise ConfigError("; ".join(f"{'.'.join(map(str, path))}: {text}" for path, text in found))
    known = machines().machines
    own = {name: _resolved(name, each, known[each.like] if each.like else None) for name, each in topology.machines.items()}
    return built_in() | own


def faults(topology: Topology) -> Iterator[tuple[Path, str]]:
    """What is wrong with its machines and with who names them: the key in the scenario, and the fault."""
    built = machines().machines
    for name, machine in topology.machines.items():
        for key, text in _faults_of(machine, list(built)):
            yield ("topology", "machines", name, *key), text
    known = sorted({*built, *topology.machines})
    for path, name in _named(topology):
        if name not in known:
            yield path, _unknown(name, known)


def _unknown(name: str, known: list[str]) -> str:
    return f"got the machine {name!r}{nearest(name, known)}, allowed: {', '.join(known)}, or one of topology.machines"


def _faults_of(machine: Machine, built: list[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    if machine.like is not None and machine.like not in built:
        yield ("like",), f"got {machine.like!r}{nearest(machine.like, built)}, allowed: {', '.join(built)}"
    for precision, speed in machine.speed.items():
        if not LEAST_SPEED <= speed <= MOST_SPEED:
            yield ("speed", precision), f"got {speed:g} operations a second; allowed: {LEAST_SPEED:.0e} to {MOST_SPEED:.0e}"
    for key in ("memory", "bandwidth", "power", "idle", "price"):
        if (value := getattr(machine, key)) is not None and not value <= MOST:
            yield (key,), f"got {value:g}; allowed: at most {MOST:.0e}"


def _named(topology: Topology) -> Iterator[tuple[Path, str]]:
    yield ("topology", "center", "machine"), topology.center.machine
    for number, region in enumerate(topology.regions):
        yield ("topology", "regions", number, "machine"), region.machine
    for number, clinics in enumerate(topology.clinics):
        at: Path = ("topology", "clinics", number)
        yield (*at, "machine"), clinics.machine
        for second, devices in enumerate(clinics.devices):
            yield (*at, "devices", second, "machine"), devices.machine


def _resolved(name: str, own: Machine | None, base: Built | None) -> Profile:
    """`own` over `base`; at least one of them is there."""
    own = own or Machine()
    numbers: dict[str, float] = {}
    sources: dict[str, Source] = {}
    kept = machines().sources
    for key, pair in (_flat(base) if base else {}).items():
        numbers[key], sources[key] = pair[0], kept[pair[1]]
    changed: dict[str, float | None] = {f"speed.{key}": value for key, value in own.speed.items()}
    changed |= {key: getattr(own, key) for key in ("memory", "bandwidth", "power", "idle", "price", "step")}
    if own.used is not None:
        changed |= {key.replace("speed", "used"): own.used for key in {*numbers, *changed} if key.startswith("speed.")}
    for key, value in changed.items():
        if value is not None:
            numbers[key], sources[key] = value, _OWN
    speed, used = _part(numbers, "speed."), _part(numbers, "used.")
    auto: Precision = base.auto if base else next(each for each in ("bf16", "fp16", "fp32") if each in speed)
    is_changed = base is not None and own != Machine(like=own.like)
    return Profile(
        name=name,
        what=(base.what if base else name) + (", changed by the scenario" if is_changed else ""),
        speed=MappingProxyType(speed),
        used=MappingProxyType(used),
        auto=auto,
        memory=numbers["memory"],
        bandwidth=numbers["bandwidth"],
        power=numbers["power"],
        idle=numbers["idle"],
        price=numbers["price"],
        step=numbers.get("step"),
        sources=MappingProxyType(sources),
    )


def _flat(base: Built) -> dict[str, tuple[float, str]]:
    found = {f"speed.{key}": pair for key, pair in base.speed.items()}
    found |= {f"used.{key}": pair for key, pair in base.used.items()}
    return found | {key: getattr(base, key) for key in ("memory", "bandwidth", "power", "idle", "price")}


def _part(numbers: Mapping[str, float], start: str) -> dict[Precision, float]:
    order: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16", "int8")
    return {each: numbers[start + each] for each in order if start + each in numbers}
