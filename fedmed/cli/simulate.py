"""`fedmed simulate`: options in, a run with live progress, a short summary or JSON out."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from fedmed.cli.progress import STYLES, Watcher
from fedmed.cli.sweeping import DESIGN
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError
from fedmed.report import dishonest, protection, virtual
from fedmed.report.formats import count
from fedmed.report.measures import KINDS, in_text
from fedmed.report.record import Report
from fedmed.report.verdict import ended_with
from fedmed.simulate.folder import RunFolder, free_folder
from fedmed.simulate.targets import learnt, read_target
from fedmed.twin import profiles

DEFAULT = "demo"
MOST = 20
"""Sites, and what they set aside, that are told by name."""


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    scenario: str | None
    data: Path | None
    overrides: tuple[str, ...]
    out: Path | None
    resume: bool
    as_json: bool
    target: str | None = None


def run(options: Options) -> None:
    """Run a simulation; Ctrl-C says how to go on and passes through."""
    scenario, target = _scenario(options), read_target(options.target)
    learnt(scenario, options.target)
    out = options.out or free_folder(scenario.name)
    if _is_modelled(scenario):
        from fedmed.cli import modelled

        modelled.run(scenario, options.data, out, options.resume, options.as_json)
        return
    from fedmed.simulate import engines  # Flower and, below, PyTorch: only once the scenario is sound

    engines.warm_up(scenario.engine)  # the site processes import PyTorch while this one does
    from fedmed.simulate.run import Request, simulate

    with Watcher(out) as watcher:
        try:
            report = simulate(Request(scenario, options.data, out, options.resume, target))
        except KeyboardInterrupt:
            watcher.close()
            done = max(RunFolder(out).commits.rounds(), default=0)
            sys.stderr.write(f"fedmed: stopped; {done} of {scenario.rounds} rounds are committed in {out}. ")
            sys.stderr.write("Go on with the same command, --out and --resume\n")
            raise
    if options.as_json:
        sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    else:
        Console(soft_wrap=True, highlight=False).print(summary(report, out))


def _scenario(options: Options) -> Scenario:
    if options.resume and options.out is None:
        raise ConfigError("--resume needs --out: the folder of the run to go on with")
    folder = RunFolder(options.out) if options.resume and options.out is not None else None
    if folder is not None and folder.has_run and options.scenario is None and not options.overrides:
        return folder.scenario()
    scenario = load(find(options.scenario or DEFAULT), options.overrides, profiles.names())
    if folder is not None and not folder.has_run and not _is_modelled(scenario):
        raise ConfigError(f"--resume: {options.out} holds no run to go on with; {_instead(folder)}")
    return scenario


def _is_modelled(scenario: Scenario) -> bool:
    return scenario.topology is not None and scenario.topology.learning == "modelled"


def _instead(folder: RunFolder) -> str:
    if (folder.path / DESIGN).exists():
        return "it holds a sweep: repeat its command, --sweep included"
    try:
        is_free = not any(folder.path.iterdir())
    except FileNotFoundError:
        is_free = True
    except OSError:
        is_free = False
    return "leave --resume out to start one there" if is_free else "leave --resume out, and give an empty or a new folder"


def summary(report: dict[str, Any], out: Path) -> Text:
    """The result in a few lines: who took part, how good, what the center could learn, where to look."""
    lines = [f"{report['scenario']['title']}: {report['status']}"]
    lines += [f"  round {number}: without {', '.join(names)}" for number, names in report["sites_missing"].items()]
    aside = [(site, each) for site, found in report["set_aside"].items() for each in found]
    lines += [f"  {site}: {each['what']} was set aside: {each['reason']}" for site, each in aside[:MOST]]
    metrics = report["overall"]["metrics"]
    measures = KINDS[report["kind"]]
    shown = [f"{in_text(name)} {_figure(metrics[name])}" for name in measures if name in metrics]
    lines.append(f"  pooled test ({report['overall']['test_examples']} cases): {', '.join(shown)}")
    lines += [_site_line(name, site, measures[0]) for name, site in list(report["sites"].items())[:MOST]]
    if (more := len(report["sites"]) - MOST) > 0:
        lines.append(f"  and {count(more, 'more site')}: see the report")
    found = Report.model_validate(report)
    lines.append(f"  Each site's figures are measured by {found.evaluated_by}.")
    lines += [
        f"  {said}"
        for said in (
            ended_with(found),
            protection.line(found),
            dishonest.line(found),
            *virtual.sentences(found),
            virtual.reached(found),
        )
        if said
    ]
    mode = report["privacy"]["secure_aggregation"]
    said = protection.warning(mode, is_over=True)
    warned = [(f"  {said}\n", STYLES[mode])] if said else []
    last = f"  {report['seconds']['total']:.0f} s. Report: {(out / 'report.html').resolve()}"
    return Text.assemble("\n".join(lines) + "\n", *warned, last)


def _site_line(name: str, site: dict[str, Any], leading: str) -> str:
    def score(model: str) -> str:
        figure = (site[model] or {}).get(leading) or {"value": None}
        return "–" if figure["value"] is None else f"{figure['value']:.3f}"

    alone = "" if site["local"] is None else f" (its own model alone {score('local')})"
    return f"  {name}: {in_text(leading)} {score('federated')}{alone}, {count(site['rounds_joined'], 'round')} joined"


def _figure(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "undefined"
    return f"{figure['value']:.3f} ({figure['low']:.3f}–{figure['high']:.3f})"
