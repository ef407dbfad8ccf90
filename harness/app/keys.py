"""The keys of the configuration as --help shows them: the lines of conf/, with their defaults and comments."""

import re

from harness.config import shipped

FILES = {"": "config", "dataset.": "every_dataset", "model.": "model/mlp", "optimizer.": "every_optimizer"}
OPTIONS = ("momentum", "adam")  # rules that have keys of their own
LAUNCHERS = ("joblib", "ray", "submitit_local", "submitit_slurm")
FIRST, END = "# The three knobs", "\nhydra:"  # of what conf/config.yaml says about keys


def keys() -> str:
    """The text, with each $ doubled: Hydra fills it into a template."""
    parts = [_lines(prefix, name) for prefix, name in FILES.items()]
    lines = [line for name in OPTIONS for line in _lines("optimizer.", f"optimizer/{name}").splitlines()]
    own = [line for line in lines if "#" in line and ".name:" not in line]
    launchers = [_lines("hydra.launcher.", f"hydra/launchers/{name}") for name in LAUNCHERS]
    return "\n\n".join([*parts, "\n".join(own), *launchers]).replace("$", "$$")


def _lines(prefix: str, name: str) -> str:
    """Of one file; of conf/config.yaml what is between its defaults and Hydra's settings."""
    text = shipped("conf").joinpath(f"{name}.yaml").read_text(encoding="utf8")
    text = text[text.find(FIRST) if FIRST in text else 0 :].partition(END)[0]
    return re.sub(r"^(?=[a-z])", prefix, text, flags=re.MULTILINE).strip()
