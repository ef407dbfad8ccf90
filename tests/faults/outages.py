"""Faults of a tracking server: it is away, hangs, answers with errors, crashes."""

import signal
import time

from .fault import fault
from .records import Tally
from .servers import Site, now_and_then
from .trial import LONG, ServerTrial, own_tally

OUTAGE = 20.0  # seconds


def _outage(trial: ServerTrial, site: Site, fate: str, longest: float) -> Tally:
    proxy = trial.connect(site)

    def away() -> None:
        if fate == "refuse":
            proxy.close()
        proxy.fate = lambda: fate
        time.sleep(OUTAGE)
        proxy.fate = lambda: "pass"
        if fate == "refuse":
            proxy.open()

    begun, ended = trial.train_through(away, *LONG)
    trial.trained_on(begun, ended, longest)
    return own_tally(trial, trial.records().cells, wanted=2)


@fault("the server refuses connections for 20 s", group="server")
def server_away(trial: ServerTrial, site: Site) -> Tally:
    return _outage(trial, site, "refuse", longest=5.0)


@fault("the server accepts requests and does not answer for 20 s", group="server")
def server_hangs(trial: ServerTrial, site: Site) -> Tally:
    return _outage(trial, site, "hang", longest=15.0)  # two requests of 5 s each, and what lies between two cells


@fault("one request in five is answered with 500 or 502, or not at all", group="server")
def server_errors(trial: ServerTrial, site: Site) -> Tally:
    """A start fails at once if the server does; later errors are waited out."""
    proxy = trial.connect(site)
    command = trial.start()
    trial.wait_for_points(command)
    proxy.fate = now_and_then(trial.rng.random, ["500", "502", "refuse"], 0.2)
    code = command.wait()
    trial.expect(code == 0, f"exit code {code}: {command.stderr}")
    trial.expect(proxy.n_harmed > 0, "no request was harmed")
    return trial.compared()


@fault("one connection in seven breaks after the server has carried out the request", group="server")
def answers_lost(trial: ServerTrial, site: Site) -> Tally:
    proxy = trial.connect(site)
    command = trial.start()
    trial.wait_until(lambda: trial.records().runs, command)  # who cannot open a store is refused
    proxy.fate = now_and_then(trial.rng.random, ["drop"], 0.15)
    code = command.wait()
    trial.expect(code == 0, f"exit code {code}: {command.stderr}")
    trial.expect(proxy.n_harmed > 0, "no request was harmed")
    return trial.compared()


@fault("PostgreSQL crashes and is restarted", group="server")
def postgres_restarts(trial: ServerTrial, site: Site) -> Tally:
    trial.connect(site)
    trial.train_through(site.postgres.restart)
    return trial.compared()


@fault("MLflow's server is killed and restarted", group="server")
def server_restarts(trial: ServerTrial, site: Site) -> Tally:
    trial.connect(site)

    def away() -> None:
        site.server.stop(signal.SIGKILL)
        site.server.start()
        site.server.wait()

    trial.train_through(away)
    return trial.compared()


@fault("the server never comes back; `deliver`, later", group="server")
def server_gone(trial: ServerTrial, site: Site) -> Tally:
    proxy = trial.connect(site)
    command = trial.start()
    trial.wait_for_points(command)
    time.sleep(trial.rng.uniform(0, 2.0))
    proxy.close()
    code = command.wait()
    trial.expect(code == 1, f"exit code {code}: {command.stderr}")
    trial.expect("mlruns/undelivered" in command.stderr, f"does not say where its data is: {command.stderr}")
    trial.expect("python -m harness deliver" in command.stderr, f"does not say what to do: {command.stderr}")
    trial.expect("Traceback" not in command.stderr, command.stderr)
    early = trial.start("deliver")
    trial.expect(early.wait() in (1, 2) and len(early.stderr.splitlines()) <= 2, f"deliver, too early: {early.stderr}")
    proxy.open()
    late = trial.start("deliver")
    trial.expect(late.wait() == 0, f"deliver: {late.stderr}")
    return trial.again()


@fault("the server and the command are killed; only the journals hold the points", group="server")
def server_and_command_die(trial: ServerTrial, site: Site) -> Tally:
    proxy = trial.connect(site)
    command = trial.start()
    trial.wait_for_points(command)
    proxy.close()
    time.sleep(trial.rng.uniform(0, trial.reference.seconds / 2))
    command.signal(signal.SIGKILL)
    command.wait()
    trial.witness()
    proxy.open()
    return trial.again()


@fault("the server does not run at the start", group="server")
def server_absent(trial: ServerTrial, site: Site) -> Tally:
    """One line, at once, and nothing is trained."""
    proxy = trial.connect(site)
    proxy.close()
    command = trial.start()
    code = command.wait(60)
    trial.expect(code == 2, f"exit code {code}: {command.stderr}")
    trial.expect(len(command.stderr.splitlines()) == 1, command.stderr)
    trial.expect("MLFLOW_TRACKING_URI" in command.stderr, command.stderr)
    proxy.open()
    return trial.again()
