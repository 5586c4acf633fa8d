"""A run on Flower's own SuperLink and SuperNodes, processes of this machine, with a recorder before each SuperNode.

`Live.run` stands in for `fedmed.simulate.engines.run`. Both are started with `--isolation process`, for which Flower leaves
it to others to run the apps: the ServerApp runs here, each site's ClientApp in a process that stays, not one a message.
What goes between a SuperNode and its own app leaves no site, and is not recorded.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import SubStatus
from flwr.common.serde import fab_to_proto, run_from_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.superlink.grid import HttpGrid
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from fedmed.config.scenario import Scenario
from fedmed.flower import apps, identity, lanes
from fedmed.flower.apps import AppRef
from fedmed.flower.orphans import end_with_owner
from fedmed.flower.server import call
from fedmed.flower.worker import guarded
from fedmed.simulate import engines, members
from tests.attacks.secagg import watched
from tests.attacks.secagg.recorder import Recorder

Client = TypeVar("Client", ControlHttpClient, RuntimeHttpClient)
ROOT = Path(__file__).parents[3]
LOOK_S, START_S, STOP_S = 0.1, 60.0, 10.0
BUNDLE = b"""\
[project]
name = "tapped"
version = "1.0.0"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "fedmed"
fab-include = ["center.py", "site.py"]
[tool.flwr.app.components]
serverapp = "center:app"
clientapp = "site:app"
"""
EMPTY = b"app = None  # whoever runs the apps has them installed\n"


@dataclass
class Live:
    """Runs one scenario; `streams` are then what each site's SuperNode said, by connection."""

    folder: Path
    streams: list[list[bytes]] = field(default_factory=list)

    def run(
        self, scenario: Scenario, workers: int, folder: Path, sites_folder: Path, loads: Sequence[float], timing: None
    ) -> None:
        run_config: dict[str, Any] = {"run-folder": str(folder.resolve()), "sites": len(loads)}
        client = engines.CLIENT
        if scenario.privacy.is_masked:
            authority = sites_folder.resolve() / members.MEMBERS / members.AUTHORITY
            run_config |= {"federation": members.FEDERATION, "authority": str(authority)}
            client = replace(client, gate=f"{watched.__name__}:{watched.gate_of.__name__}")
        center, *own = free_ports(1 + len(loads))
        recorders: list[Recorder] = []
        with ExitStack() as stack:
            stack.enter_context(self._process("superlink", ["flower-superlink"], center))
            for _ in own:
                recorders.append(recorder := Recorder(center))
                stack.callback(recorder.close)
            for number, (port, recorder) in enumerate(zip(own, recorders, strict=True)):
                node = f'partition-id={number} sites-folder="{sites_folder.resolve()}"'
                command = [sys.executable, "-m", "tests.attacks.secagg.supernode"]
                told = ["--superlink", f"127.0.0.1:{recorder.port}", "--node-config", node]
                stack.enter_context(self._process(f"supernode-{number}", [*command, *told], port))
                stack.enter_context(site_app(port, client, self.folder / f"site-{number}.log"))
            answer_as_center(center, run_config)
        self.streams = [[bytes(stream) for stream in recorder.streams] for recorder in recorders]

    @contextmanager
    def _process(self, name: str, command: list[str], port: int) -> Iterator[None]:
        """One of Flower's, ended at the end, with all that it started."""
        where = ["--host", "127.0.0.1", "--port", str(port)]
        scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"FLWR_HOME": str(self.folder / "flwr"), "PATH": scripts}
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--insecure", "--isolation", "process", *where],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def client_of(kind: type[Client], port: int, token: str = "") -> Client:
    interceptors: list[Any] = [RuntimeVersionHttpInterceptor(component_name="flwr-clientapp")]
    if token:
        interceptors.append(RuntimeTokenHttpInterceptor(token))
    return kind.from_server_address(f"127.0.0.1:{port}", True, None, interceptors)


def once_there(ask: Callable[[], Any]) -> Any:
    """What a server answers as soon as it listens. Raises httpx.TransportError where it does not begin to."""
    end = time.monotonic() + START_S
    while True:
        try:
            return ask()
        except httpx.TransportError:
            if time.monotonic() > end:
                raise
            time.sleep(LOOK_S)


def answer_as_center(port: int, run_config: dict[str, Any]) -> None:
    """Start a run, and be its ServerApp."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Flower, which names its patterns as pathspec did once
        fab = build_fab_from_files({"pyproject.toml": BUNDLE, "center.py": EMPTY, "site.py": EMPTY})[0]
    with client_of(ControlHttpClient, port) as control:
        once_there(lambda: control.StartRun(StartRunRequest(fab=fab_to_proto(Fab("", fab, {})))))
    with client_of(RuntimeHttpClient, port) as executor:
        token = executor.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])).token
    grid = HttpGrid(f"127.0.0.1:{port}", insecure=True, token=token)
    beats = HeartbeatSender(make_task_heartbeat_fn_http(grid._runtime_client))
    beats.start()
    try:
        task = grid._runtime_client.PullTaskInput(PullTaskInputRequest())
        identity.assume(task.context.node_id, task.run.run_id)
        grid.set_run(run_from_proto(task.run))
        call(apps.load(engines.SERVER), grid, run_config)
    finally:
        identity.assume(identity.SERVER_NODE)
        beats.stop()
        grid.close()


@contextmanager
def site_app(port: int, client: AppRef, log: Path) -> Iterator[None]:
    """The process that runs a site's ClientApp for its SuperNode."""
    process = lanes.server_context(client).Process(target=serve, args=(port, client, log), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()
        process.close()


def serve(port: int, client: AppRef, log: Path) -> None:
    end_with_owner(lambda: None)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
    app = guarded(client) if client.gate else watched.noting(guarded(client))
    acquire = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
    with client_of(RuntimeHttpClient, port) as executor:
        while True:
            if token := once_there(lambda: executor.AcquireTask(acquire)).token:
                answer_one(port, token, app)
            else:
                time.sleep(LOOK_S)


def answer_one(port: int, token: str, app: Callable[..., Any]) -> None:
    """As `flwr-clientapp` does, with an app that is loaded already."""
    with client_of(RuntimeHttpClient, port, token) as client:
        message, context, _, _ = pull_task_input(client)
        push_message(client, app(message, context), context)
        push_task_output(client, context, SubStatus.COMPLETED, "")
