"""Who attacks: from a scenario's section `attackers` to the attacks of each site."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence

from fedmed.clock import generator
from fedmed.config.allowed import nearest, shown
from fedmed.config.attackers import Attacker
from fedmed.errors import ConfigError
from fedmed.learning.attacks import backdoor
from fedmed.sites.cases import Cases, Site

MOST_SHOWN = 10
Attacks = dict[str, tuple[Attacker, ...]]


def assigned(attackers: Sequence[Attacker], sites: Sequence[Site], seed: int) -> Attacks:
    """The attacks of each site that has any, in the order of the scenario.

    Raises ConfigError with every name that is no site's or class, every trigger that fits no case, and every site that is to
    do the same twice.
    """
    names, faults, found = [site.name for site in sites], list[str](), Attacks()
    for number, attack in enumerate(attackers):
        key = f"attackers.{number}"
        faults += [f"{key}.{fault}" for fault in _faults(attack, names, sites[0].train)]
        for name in chosen(attack, names, seed):
            if any(each.kind == attack.kind for each in found.get(name, ())):
                faults.append(f"{key}.who: {name} has the attack {attack.kind} already; let one of the two entries name it")
            else:
                found[name] = (*found.get(name, ()), attack)
    if faults:
        raise ConfigError("; ".join(faults))
    return found


def chosen(attack: Attacker, names: Sequence[str], seed: int) -> list[str]:
    """The sites that attack, in their order. More of the same `who` are always these and others."""
    named = [name for name in names if _is(name, attack.who)]
    if attack.count is None and attack.share is None:
        return named
    count = attack.count if attack.count is not None else round((attack.share or 0.0) * len(named))
    drawn = {named[place] for place in generator(seed, "attackers", attack.who).permutation(len(named))[:count]}
    return [name for name in named if name in drawn]


def _is(name: str, pattern: str) -> bool:
    """`*` alone stands for other text: the names of sites may have brackets and question marks."""
    literal = pattern.replace("[", "[[]").replace("?", "[?]")
    return fnmatch.fnmatchcase(name, literal)


def _faults(attack: Attacker, names: Sequence[str], cases: Cases) -> Iterator[str]:
    named = [name for name in names if _is(name, attack.who)]
    if not named:
        some = ", ".join(names[:MOST_SHOWN]) + (f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else "")
        near = nearest(attack.who, list(names[:300]))
        yield f"who: got {shown(attack.who)}, which is no site's name{near}, allowed: {some}"
    elif attack.count is not None and attack.count > len(named):
        yield f"count: got {attack.count}, and {shown(attack.who)} names {len(named)}; allowed: 0 to {len(named)}"
    for key in ("source", "target"):
        wanted = getattr(attack, key)
        if wanted is not None and wanted not in cases.classes:
            yield f"{key}: got {shown(wanted)}, which is no class here, allowed: {', '.join(cases.classes)}"
    if attack.kind == "backdoor" and cases.has_masks:
        yield "kind: got backdoor, which needs one class a case; of masks, label-flip, scaled and sign-flip are possible"
    elif attack.kind == "backdoor" and attack.trigger.size >= min(backdoor.axes(cases)):
        least = min(backdoor.axes(cases))
        yield f"trigger.size: got {attack.trigger.size} for cases of {list(backdoor.axes(cases))}, allowed: below {least}"
