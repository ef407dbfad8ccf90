"""PostgreSQL, MLflow's server and a bad connection to it, all on loopback, all gone when the test is.

Each program runs under `timeout` in a process group of its own and gets SIGTERM when its parent dies, so that nothing
is left running whatever becomes of the test.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .commands import environment

LIFETIME = 10_800  # seconds after which a server ends even if nobody ends it
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1:]


def why_not() -> str:
    """What is missing for the servers; empty if nothing is."""
    if not POSTGRES:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if not all(shutil.which(program) for program in ("setpriv", "timeout")):
        return "setpriv and timeout (util-linux, coreutils) are needed to end servers with the test"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A program that listens on a port."""

    def __init__(self, log: Path) -> None:
        self.port, self.log = free_port(), log

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        guard = ["setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=5", str(LIFETIME)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*guard, *self.command()], stdout=log, stderr=log, cwd=self.log.parent, start_new_session=True,
                env=environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
            )  # fmt: skip

    def wait(self, seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)

    def answers(self) -> bool:
        raise NotImplementedError

    def stop(self, number: int = signal.SIGTERM) -> None:
        """`timeout` has a group of its own, which is its child's, too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Postgres(Server):
    """A cluster of its own. It refuses to run as root, so then it runs as nobody."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder / "log")
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        self._user = as_nobody if os.geteuid() == 0 else []
        if self._user:
            self._open_the_way(folder)
            shutil.chown(self.data, "nobody", "nogroup")
        initdb = [POSTGRES[0].with_name("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run([*self._user, *map(str, initdb)], check=True, stdout=subprocess.DEVNULL, cwd="/")

    @staticmethod
    def _open_the_way(folder: Path) -> None:
        """pytest's temporary folders are for their owner only."""
        for path in [folder, *folder.parents]:
            if path.stat().st_uid == os.geteuid() and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o011)

    @property
    def uri(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        options = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        return [*self._user, str(POSTGRES[0]), "-D", str(self.data), *options]

    def answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.uri, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def restart(self) -> None:
        """As after a crash: connections break, transactions that are under way are undone."""
        self.stop(signal.SIGQUIT)
        self.start()
        self.wait()


class MlflowServer(Server):
    """`mlflow server` with its runs in a database and its artifacts in a folder."""

    def __init__(self, folder: Path, database: str) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder / "log")
        self.database, self.artifacts = database, folder / "artifacts"

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", self.database, "--artifacts-destination", str(self.artifacts),
        ]  # fmt: skip

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


# Of a request: pass, refuse, hang, drop (it is done, but the answer is lost), or an answer of the proxy's own: a status
# with a page, or "403 PERMISSION_DENIED", a status with that code as MLflow's JSON has it.
Fate = str


class Proxy:
    """A way to a server on which requests meet a fate that `fate` decides for each; if `concerns` (method, path)."""

    HANG_SECONDS = 40.0

    def __init__(self, upstream: int) -> None:
        self.upstream, self.fate = upstream, lambda: "pass"
        self.concerns: Callable[[str, str], bool] = lambda method, path: True
        self.n_requests, self.n_harmed = 0, 0
        self._stopping = threading.Event()
        self.port = 0
        self.open()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Listen, the second time on the same port."""
        self._stopping.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Nobody listens any more: connections are refused."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def handle_request(self) -> None:
                fate = proxy.fate() if proxy.concerns(self.command, self.path) else "pass"
                proxy.n_requests += 1
                proxy.n_harmed += fate != "pass"
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if fate == "hang":
                    proxy._stopping.wait(proxy.HANG_SECONDS)
                elif fate[0].isdigit():
                    status, _, code = fate.partition(" ")
                    said = json.dumps({"error_code": code, "message": "said by a proxy"})
                    text = said if code else "<h1>Something is wrong</h1>"
                    kind = "application/json" if code else "text/html"
                    self.answer(int(status), {"Content-Type": kind}, text.encode())
                elif fate != "refuse":
                    answer = self.forward(body)
                    if answer and fate != "drop":
                        self.answer(*answer)
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815

            def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes] | None:
                connection = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=60)
                headers = {key: value for key, value in self.headers.items() if key.lower() != "connection"}
                try:
                    connection.request(self.command, self.path, body, headers)
                    response = connection.getresponse()
                    return response.status, dict(response.getheaders()), response.read()
                except OSError:
                    return None
                finally:
                    connection.close()

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                for key, value in headers.items():
                    if key.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *unused: object) -> None:
                pass

        return Handler


class Site:
    """PostgreSQL, and MLflow's server in front of it: started together, once for many trials."""

    def __init__(self, folder: Path) -> None:
        self.postgres = Postgres(folder / "postgres")
        self.postgres.start()
        self.postgres.wait()
        self.server = MlflowServer(folder / "server", self.postgres.uri)
        self.server.start()

    def wait(self) -> None:
        self.server.wait()

    def stop(self) -> None:
        self.server.stop()
        self.postgres.stop(signal.SIGINT)


def now_and_then(draw: Callable[[], float], fates: list[Fate], share: float) -> Callable[[], Fate]:
    """Each request meets, with a probability of `share`, one of the fates."""
    return lambda: fates[int(draw() * len(fates))] if draw() < share else "pass"
