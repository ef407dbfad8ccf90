"""A cluster of one machine: sbatch, srun and sacct as far as submitit uses them, run as `fake_slurm.py NAME ...`.

sbatch keeps the script in FAKE_SLURM/sbatch.sh and runs its array, as many jobs at the same time as it allows.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

PLACE = Path(os.environ["FAKE_SLURM"])
ID = "1234"


def sbatch(script: str) -> None:
    text = Path(script).read_text(encoding="utf8")
    (PLACE / "sbatch.sh").write_text(text, encoding="utf8")
    with (PLACE / "log").open("w") as log:  # of jobs that submitit knows when this process has ended
        command = [sys.executable, __file__, "run_array", script]
        subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    print(f"Submitted batch job {ID}")


def run_array(script: str) -> None:
    last, at_once = map(int, re.search(r"--array=0-(\d+)%(\d+)", Path(script).read_text(encoding="utf8")).groups())
    waiting, running = list(range(last + 1)), []
    while waiting or running:
        running += [_start(script, waiting.pop(0)) for _ in waiting[: at_once - len(running)]]
        running[0].wait()
        running = [job for job in running if job.poll() is None]
    (PLACE / "ended").touch()


def _start(script: str, number: int) -> "subprocess.Popen[bytes]":
    own = {"JOB_ID": f"99{number}", "ARRAY_JOB_ID": ID, "ARRAY_TASK_ID": str(number), "NTASKS": "1", "PROCID": "0"}
    own |= {"LOCALID": "0", "NODEID": "0", "JOB_NUM_NODES": "1", "JOB_NODELIST": "localhost"}
    kept = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return subprocess.Popen(["bash", script], env=kept | {f"SLURM_{key}": value for key, value in own.items()})


def srun(*words: str) -> None:
    """Run the command behind srun's own options; --output and --error are followed by a file."""
    rest = list(words)
    while rest[0].startswith("--"):
        rest = rest[2 if rest[0] in ("--output", "--error") else 1 :]
    sys.exit(subprocess.run(rest).returncode)


def sacct(*unused: str) -> None:
    print("JobID|State|NodeList")
    state = "COMPLETED" if (PLACE / "ended").exists() else "RUNNING"
    print("\n".join(f"{ID}_{number}|{state}|localhost" for number in range(10)))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
