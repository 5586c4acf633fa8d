"""The clinic's own ClientApp, which fails or hangs as `faults.json` two folders above the laid-out sites says."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients import app as clinic
from fedmed.flower.client import order_in

FAULTS = "faults.json"
app = ClientApp()


@app.query("describe")
def describe(message: Message, context: Context) -> Message:
    return clinic.app(message, context)


@app.query("census")
def census(message: Message, context: Context) -> Message:
    return clinic.app(message, context)


@app.train()
def train(message: Message, context: Context) -> Message:
    folder = Path(str(context.node_config.get("sites-folder") or os.environ["FEDMED_SITES"]))
    plan = json.loads((folder.parent.parent / FAULTS).read_text())
    match plan.get(f"{clinic.clinic(context).site.name} {json.loads(order_in(message))['round']}"):
        case "raises":
            raise RuntimeError("the scanner is on fire")
        case "hangs":
            time.sleep(3600)
    return clinic.app(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    return clinic.app(message, context)
