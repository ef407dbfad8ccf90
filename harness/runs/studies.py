"""The studies of experiments/: judging one from its runs, listing last verdicts, building their pages."""

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from harness.analysis import SEED, Answer, Evidence, Finding, Study, SweepData, judge_of, judged, study_from
from harness.config import ConfigError, judge_file, shipped, study_file, study_names
from harness.report import study_pages
from harness.store import arithmetic, first_line, stored_json, stored_yaml

if TYPE_CHECKING:
    from harness.store import Store

EXPERIMENTS = shipped("experiments")
PAGE = Path("docs") / "findings.md"  # below the folder that the command runs in
CHANGED = "changed.md"  # beside the pages of the studies, if somebody has written it
CLAIMS = "study.yaml"  # on the sweep: question and claims as they were when it began
FINDINGS = "findings.json"  # likewise: what was found
PICTURE = re.compile(r"claim [\w .,=\[\]-]+\.png")
TAG = "claim."  # and the verdict of each claim as a tag


def judgement(store: "Store", sweep: str, data: SweepData, found: Answer) -> tuple[Study, list[Finding]] | None:
    """A study with its findings, by the claims stored with its sweep and today's module; None without claims."""
    if not store.has_file(sweep, CLAIMS):
        return None
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        study = _stored(store.download(store.get(sweep), CLAIMS, scratch))
        here = replace(data, here=json.dumps(arithmetic("vectorized")))
        evidence = Evidence(here, found, partial(_download, store, scratch), np.random.default_rng(SEED))
        return study, judged(study, judge_of(study.name, judge_file(study.name).parent), evidence)


def _stored(path: Path) -> Study:
    """The claims in a file of a sweep. Raises ConfigError."""
    try:
        return study_from(stored_yaml(path))
    except ConfigError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(CLAIMS, "a question and claims as this version writes them", first_line(error)) from error


def _download(store: "Store", scratch: Path, run_id: str, name: str) -> Path:
    return store.download(store.get(run_id), name, scratch / run_id)


def names() -> list[str]:
    """The studies that have claims and a module that judges them."""
    paths = [study_file(name) for name in study_names()]
    return [path.stem for path in paths if path.with_suffix(".py").is_file() and "claims" in _values(path)]


def _values(path: Path) -> dict[str, Any]:
    """What a file says below `study`, without what it inherits."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf8"))
        return dict(tree.get("study") or {}) if isinstance(tree, dict) else {}
    except (OSError, RecursionError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"experiments/{path.name}", "a YAML file of a study, or no file", first_line(error)
        ) from error


def definition(name: str) -> Study:
    """The study as its file has it now. Raises ConfigError."""
    return study_from(_values(study_file(name)))


def listing(store: "Store | None", size: str, chosen: Sequence[str]) -> str:
    """A block for each of these studies: its question, each claim with the verdict of the newest sweep of that size.

    store: None if there is none yet.
    """
    blocks = []
    for name in chosen:
        study, run = definition(name), store.last_study(name, size) if store else None
        when = f"last run {run.info.run_id}" if run else "not run yet"
        lines = [f"{name}: {study.question}  ({when})"]
        width = max(len(claim) for claim in study.claims)
        for claim in study.claims.values():
            verdict = run.data.tags.get(f"{TAG}{claim.id}", "-") if run else "-"
            lines.append(f"  {claim.id:<{width}} {verdict:<12} {claim.says}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def write_pages(store: "Store", size: str, root: Path) -> Path:
    """Rebuild docs/findings.md and the page of every study that was run, from its newest sweep; returns the former."""
    page = root / PAGE
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for name in names():
        run = store.last_study(name, size)
        if run is None or not any(tag.startswith(TAG) for tag in run.data.tags):
            continue
        parts.append(_part(store, run, _emptied(folder / name)) | {"study": name})
        (folder / f"{name}.md").write_text(study_pages.study_page(parts[-1]), encoding="utf8")
    page.write_text(study_pages.index(parts, changed=(folder / CHANGED).is_file()), encoding="utf8")
    return page


def _emptied(folder: Path) -> Path:
    """The folder, without pictures of earlier findings."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    return folder


def _part(store: "Store", run: Any, folder: Path) -> dict[str, Any]:
    """What the pages say of one sweep. Copies of its pictures go into the folder: a download may be the original."""
    with tempfile.TemporaryDirectory() as scratch:
        part: dict[str, Any] = stored_json(store.download(run, FINDINGS, Path(scratch)))
        for name in [row["picture"] for row in part["findings"] if row["picture"]]:
            if not PICTURE.fullmatch(name):
                raise ConfigError(FINDINGS, "names of pictures as this version writes them", name)
            shutil.copyfile(store.download(run, f"figures/{name}", Path(scratch)), folder / name)
    spent = sum(cell.data.metrics.get("time/wall_seconds", 0.0) for cell in store.cells(run.info.run_id))
    return part | {"command": run.data.tags["command"], "cells": run.data.tags["cells"], "seconds": spent}
