"""Where the YAML files lie: conf/ and experiments/ of the harness, and experiments/ of the current folder.

A study is a pair of files NAME.yaml and NAME.py. One of the current folder may not have the name of one that comes with
the harness, unless its files are the same.
"""

from pathlib import Path

from harness.config.schema import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """The folder conf or experiments: inside the package where it is installed, beside it in a checkout."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def _study_files() -> list[Path]:
    """The YAML files of all studies, those of the current folder last."""
    folders = dict.fromkeys([shipped("experiments"), Path("experiments").resolve()])
    return [path for folder in folders for path in sorted(folder.glob("*.yaml"))]


def study_names() -> list[str]:
    """What `experiment=` may be."""
    return sorted({path.stem for path in _study_files()})


def study_file(name: str) -> Path:
    """The YAML file of a study. Raises ConfigError for a name that is unknown, or is that of two different studies."""
    found = [path for path in _study_files() if path.stem == name]
    if not found:
        raise ConfigError("experiment", " | ".join(study_names()), name)
    if len({_content(path) for path in found}) > 1:
        raise ConfigError(f"experiments/{name}.yaml", "a name that no study of the harness has", name)
    return found[0]


def judge_file(name: str) -> Path:
    """The module that judges a study. Raises ConfigError for a study without one."""
    module = study_file(name).with_suffix(".py")
    if not module.exists():
        raise ConfigError(f"experiments/{name}.py", "a module with a function `judge` beside the YAML file", None)
    return module


def _content(path: Path) -> tuple[bytes, ...]:
    return tuple(file.read_bytes() for file in (path, path.with_suffix(".py")) if file.exists())
