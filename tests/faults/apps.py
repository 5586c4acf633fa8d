"""The clinic's own ClientApp, whose sites misbehave as `faults.json` two folders above the laid-out sites says."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients import app as clinic
from fedmed.flower.arrays import own, views
from fedmed.flower.client import order_in

FAULTS = "faults.json"

app = ClientApp()


def fault_of(kind: str, message: Message, context: Context) -> str | None:
    """The fault planned as `{site: {"KIND ROUND": fault}}`."""
    folder = Path(str(context.node_config["sites-folder"]))
    plan = json.loads((folder.parent.parent / FAULTS).read_text())
    number = json.loads(order_in(message))["round"]
    return plan.get(clinic.clinic(context).site.name, {}).get(f"{kind} {number}")


def misbehave(fault: str) -> None:
    match fault:
        case "raises":
            raise RuntimeError("the scanner is on fire \udcff")
        case "hangs":
            time.sleep(3600)
        case "exits":
            os._exit(3)
        case "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "is stopped":
            os.kill(os.getpid(), signal.SIGSTOP)


def spoil(fault: str, tensors: dict[str, Any], metrics: dict[str, Any]) -> None:
    first = next(iter(tensors))
    match fault:
        case "sends NaN":
            tensors[first] = np.full_like(tensors[first], np.nan)
        case "sends another shape":
            tensors[first] = tensors[first][..., :1].copy()
        case "sends nothing":
            tensors.clear()
        case "outvotes":
            metrics["num-examples"] = 10**9


@app.query("describe")
def describe(message: Message, context: Context) -> Message:
    return clinic.app(message, context)


@app.query("census")
def census(message: Message, context: Context) -> Message:
    return clinic.app(message, context)


@app.train()
def train(message: Message, context: Context) -> Message:
    fault = fault_of("train", message, context)
    if fault is not None:
        misbehave(fault)
    reply = clinic.app(message, context)
    if fault is not None:
        tensors = {name: value.copy() for name, value in views(reply.content["arrays"]).items()}
        spoil(fault, tensors, reply.content["metrics"])
        reply.content["arrays"] = own(tensors)
    return reply


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    fault = fault_of("evaluate", message, context)
    if fault is not None:
        misbehave(fault)
    return clinic.app(message, context)
