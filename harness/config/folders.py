"""Where the YAML files lie: conf/ and experiments/ of the harness, and experiments/ of the current folder."""

from pathlib import Path

from harness.config.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """The folder conf or experiments: inside the package where it is installed, beside it in a checkout."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def _study_files() -> list[Path]:
    """NAME.yaml of every study, which NAME.py beside it judges; those of the current folder last."""
    folders = dict.fromkeys([shipped("experiments"), Path("experiments").resolve()])
    return [path for folder in folders for path in sorted(folder.glob("*.yaml")) if path.is_file()]


def study_names() -> list[str]:
    """What `experiment=` may be."""
    return sorted({path.stem for path in _study_files()})


def study_file(name: str) -> Path:
    """The YAML file of a study. Raises ConfigError for a name that is unknown, or is that of two different studies."""
    found = [path for path in _study_files() if path.stem == name]
    if not found:
        raise ConfigError("experiment", " | ".join(study_names()), name)
    contents = {tuple(f.read_bytes() for f in (path, path.with_suffix(".py")) if f.exists()) for path in found}
    if len(contents) > 1:
        raise ConfigError(f"experiments/{name}.yaml", "a name that no study of the harness has", name)
    return found[0]


def judge_file(name: str) -> Path:
    """The module that judges a study. Raises ConfigError for a study without one."""
    module = study_file(name).with_suffix(".py")
    if not module.is_file():
        raise ConfigError(f"experiments/{name}.py", "a module with a function `judge` beside the YAML file", None)
    return module
