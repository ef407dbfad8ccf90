"""Hydra as the harness uses it. Of its private names only two: the parser in `flags`, the callbacks in `_context`."""

import copy
import os
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.core.utils import env_override, run_job, setup_globals
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf import __version__ as omegaconf

from harness.app import filewords
from harness.app.hints import unknown_flag
from harness.app.keys import keys
from harness.app.nodes import check_override, culprit
from harness.app.options import FILE, OF_VERBS, PAPER, TABLE, TABLES
from harness.app.refusals import refusing, several, unreadable
from harness.app.sources import Extensions, Studies
from harness.config import Config, ConfigError, shipped, study_names
from harness.data import DATASETS

BEHAVIOUR = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}  # Hydra 1.4 has no other
QUESTIONS = ("help", "hydra_help", "cfg", "info", "shell_completion")  # they are answered, and nothing is trained
ELSEWHERE = ("config_name", "config_path")  # they would name another configuration than conf/
USED = ("overrides", "run", "multirun", "config_dir")  # when cells are trained
SMALL = "size=small"
GRIDS = "study.grids"
Task = Callable[[DictConfig], Any]  # of a configuration
PARTS = ("dataset", "model", "optimizer")  # groups, of which a cell has one option each
VERBS = ("deliver", "pack", "query", "report", "studies", "ui", "unpack", "verify")  # of harness.app.verbs


def flags(words: Sequence[str]) -> Namespace:
    """The command line as Hydra reads it, and is_question. Raises ConfigError for a flag that is unknown or unused."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.error = partial(_refuse_flags, words)
    found: Namespace = parser.parse_intermixed_args(list(words))
    unused = {flag: value for flag, value in vars(found).items() if value and flag not in USED}
    found.is_question = any(flag in unused for flag in QUESTIONS)
    refused = {flag: value for flag, value in unused.items() if not found.is_question or flag in ELSEWHERE}
    if refused:
        flag, value = next(iter(refused.items()))
        allowed = "-m or --config-dir FOLDER (others go with --cfg job; `verify RUN_ID` trains a run again)"
        raise ConfigError(f"--{flag.replace('_', '-')}", allowed, value)
    return found


def _refuse_flags(words: Sequence[str], message: str) -> NoReturn:
    raise unknown_flag(words, message)


def _context(loader: Any, config: DictConfig) -> HydraContext:
    """What Hydra's jobs and launchers ask for; the callbacks are those of hydra.callbacks in the configuration."""
    from hydra._internal.callbacks import Callbacks

    return HydraContext(config_loader=loader, callbacks=Callbacks(config))


class SearchPath(SearchPathPlugin):  # type: ignore[misc]
    """Adds addresses to those that Hydra searches. Hydra creates the object, so the addresses are kept on the class."""

    addresses: ClassVar[list[str]] = []

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for address in self.addresses:
            search_path.append("harness", address)


def _prepare(overrides: Sequence[str], *addresses: str) -> None:
    """Tell Hydra about the schema, the studies and further addresses to search."""
    if ConfigStore.instance().get_type("schema.yaml") is ObjectType.NOT_FOUND:
        ConfigStore.instance().store(name="schema", node=Config)
    register = OmegaConf.register_new_resolver if omegaconf < "2.4" else OmegaConf.register_resolver  # its name since
    register("harness.keys", keys, replace=True)  # of the template of --help
    Plugins.instance().register(Studies)
    Plugins.instance().register(Extensions)
    replace: dict[str, Any] = {} if omegaconf < "2.4" else {"replace": True}  # Hydra 1.4 wants it said
    for name, file in launcher_names().items():  # in place of those of plugins
        ConfigStore.instance().store(group="hydra/launcher", name=name, node=OmegaConf.load(file), **replace)
    Plugins.instance().register(SearchPath)
    own = f"{Studies.scheme()}://{'small' if SMALL in overrides else 'full'}", f"{Extensions.scheme()}://"
    SearchPath.addresses = [*own, *addresses]


def launcher_names() -> dict[str, Path]:
    """With their files. In conf/hydra/launcher, Hydra would check them against what its plugins take."""
    return {file.stem: file for file in (shipped("conf") / "hydra" / "launchers").glob("*.yaml")}


def answer_question(words: Sequence[str], may: bool = True) -> bool:
    """Let Hydra answer --help, --cfg, --info or completion in sys.argv; whether one was there. Raises ConfigError.

    may: or else a question is refused.
    """
    arguments = flags(words)
    if not arguments.is_question:
        return False
    if not may:
        raise ConfigError("--json", "a command that trains, `report` or `query`", " ".join(words))
    if arguments.shell_completion:
        _check_completion(arguments.overrides)
        if _completes_a_verb(os.environ.get("COMP_LINE", "")):
            return True
    check_words(arguments.overrides)
    _prepare(arguments.overrides)
    main = hydra.main(config_path=str(shipped("conf")), config_name="config", **BEHAVIOUR)
    with env_override({"HYDRA_FULL_ERROR": "1"}):  # Hydra raises what it refuses, and does not print it
        refusing(main(print))
    return True


def _check_completion(words: Sequence[str]) -> None:
    """Bash and zsh put the line into COMP_LINE. Raises ConfigError without it."""
    if "COMP_LINE" not in os.environ and {"query=bash", "query=zsh"} & {*words}:
        raise ConfigError("--shell-completion", "install=bash; query=bash is the shell's own question", " ".join(words))


def _completes_a_verb(line: str) -> bool:
    """Print what a shell may put at the end of a line that has a verb; verbs too where one may stand."""
    first, *others = line.split()[1:] or [""]
    if first in VERBS and (others or line.endswith(" ")):
        before = line.split(" ")[-2]  # the word that is complete
        after_it = {TABLE: TABLES, PAPER: (), FILE: ()}  # the shell itself completes folders and files
        offered = study_names() if first == "studies" else after_it.get(before, OF_VERBS.get(first, ()))
        print(*offered, sep="\n")
        return True
    if line and not others and not (first and line.endswith(" ")):
        print(*VERBS, sep="\n")
    return False


class Session:
    """One command line that trains, with Hydra's loader for it. Raises ConfigError."""

    def __init__(self, words: Sequence[str]) -> None:
        arguments = flags(words)
        self.overrides: list[str] = [_grids_added(word) for word in arguments.overrides]
        check_words(self.overrides)
        self.multirun: bool = arguments.multirun
        _prepare(self.overrides, *([_address(arguments.config_dir)] if arguments.config_dir else []))
        running = GlobalHydra.instance()
        outer, running.hydra = running.hydra, None  # of an application of Hydra's that calls this one
        hydra.initialize_config_dir(str(shipped("conf")), job_name="harness", **BEHAVIOUR)
        self.loader, running.hydra = running.config_loader(), outer

    @cached_property
    def base(self) -> DictConfig:
        """The configuration of a sweep before the words of its cells. Raises ConfigError."""
        return self.load(RunMode.MULTIRUN)

    def load(self, mode: RunMode, more: Sequence[str] = ()) -> DictConfig:
        """The configuration with all overrides but those that list several values. Raises ConfigError."""
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "provider=hydra.searchpath", UserWarning)
            load = partial(refusing, self.loader.load_configuration, "config", run_mode=mode)
            try:
                return load(overrides=[*self.overrides, *more])
            except ConfigError as refused:
                if refused.key == "command line" and (
                    found := culprit(self.overrides, lambda own: load(overrides=own))
                ):
                    raise found from refused
                chosen = [word.removeprefix("dataset=") for word in self.overrides if word.startswith("dataset=")]
                if refused.key.startswith(filewords.LOAD) and chosen and DATASETS.knows(chosen[-1]):
                    raise filewords.unknown_argument(refused.key, chosen[-1]) from refused
                raise

    def load_cell(self, base: DictConfig, overrides: list[str]) -> DictConfig:
        """The configuration of one job of a sweep, composed as Hydra's launchers do. Raises ConfigError."""
        return refusing(self.loader.load_sweep_config, base, overrides)

    def run(self, task: Task) -> Any:
        """Run `task` on the one configuration; returns or raises what the task does."""
        config = self.load(RunMode.RUN)
        context = _context(self.loader, config)
        context.callbacks.on_run_start(config=config, config_name="config")
        job = run_job(task, config, "hydra.run.dir", None, hydra_context=context, configure_logging=False)
        context.callbacks.on_run_end(config=config, config_name="config", job_return=job)
        return job.return_value

    def launch(self, tasks: Sequence[Task], run: Callable[[Sequence[Callable[[], Any]]], list[Any]]) -> list[Any]:
        """Let `run` call tasks, each as a job of Hydra's, here or elsewhere; returns or raises what they do."""
        config = copy.deepcopy(self.base)
        context = _context(self.loader, config)
        context.callbacks.on_multirun_start(config=config, config_name="config")
        folder = config.hydra.sweep.dir = str(config.hydra.sweep.dir)  # which has the time in its name
        Path(folder).mkdir(parents=True, exist_ok=True)
        values = run([partial(_run_job, task, config, number, context) for number, task in enumerate(tasks)])
        context.callbacks.on_multirun_end(config=config, config_name="config")
        return values


def _run_job(task: Task, config: DictConfig, number: int, context: HydraContext) -> Any:
    setup_globals()  # the process may be another one
    own = copy.deepcopy(config)
    with open_dict(own):
        own.hydra.job.id, own.hydra.job.num = str(number), number
    job = run_job(task, own, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context=context, configure_logging=False)
    return job.return_value


def check_words(words: Sequence[str]) -> None:
    """Raises ConfigError for a word that is no override, and names it, which Hydra's own message may not."""
    parser = OverridesParser.create()
    for word in words:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # of what Hydra is about to give up
                override = parser.parse_override(word)
        except (HydraException, ValueError, RecursionError, UserWarning) as error:
            raise unreadable(word, error) from error
        if not override.key_or_group:
            raise unreadable(word, ValueError())
        check_part(override)


def check_single(session: Session) -> None:
    """Raises ConfigError for a word that lists several values, where one cell is trained."""
    for word in session.overrides:
        override = refusing(OverridesParser.create().parse_override, word)
        if override.is_sweep_override():
            raise several(str(override.key_or_group), word.partition("=")[2])


def check_names(session: Session) -> None:
    """Raises ConfigError for dataset.name=iris without dataset=iris: the name says nothing about the examples."""
    for word in session.overrides:
        key, _, values = word.lstrip("+").partition("=")
        part, _, name = key.partition(".")
        if name == "name" and part in PARTS:
            known = session.loader.get_group_options(part)
            for value in map(str.strip, values.split(",")):
                if value in known and f"{part}={value}" not in session.overrides:
                    raise ConfigError(key, f"another name (did you mean {part}={value}?)", value)


def check_part(override: Override) -> None:
    """As check_override; also for a group of which a cell would get something else than one option: Hydra merges."""
    check_override(override)
    changed = override.type in (OverrideType.CHANGE, OverrideType.ADD) and override.key_or_group in PARTS
    if changed and not (override.is_sweep_override() or isinstance(override.value(), str)):
        allowed = "one name (with -m several, without brackets)"
        raise ConfigError(str(override.key_or_group), allowed, override.input_line.partition("=")[2])


def _grids_added(word: str) -> str:
    """study.grids=... is not there yet without a study, and replaces the grids of one: Hydra's ++ does both."""
    return f"++{word.lstrip('+')}" if word.lstrip("+").startswith(f"{GRIDS}=") else word


def _address(folder: str) -> str:
    """The address of a user's folder. Raises ConfigError for a file that Hydra passes over, because conf/ has one."""
    own = Path(folder).absolute()
    if not os.path.isdir(own):
        raise ConfigError("--config-dir", "a folder that exists", folder)
    taken = {Path("experiment", f"{name}.yaml") for name in study_names()}
    files = {path.relative_to(own): path for path in sorted(own.rglob("*.yaml"))}
    if passed_over := [path for name, path in files.items() if name in taken or (shipped("conf") / name).exists()]:
        raise ConfigError("--config-dir", "files whose names conf/ and experiments/ do not have", str(passed_over[0]))
    return f"file://{own}"
