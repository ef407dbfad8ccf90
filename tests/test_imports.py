"""Imports point one way: edge -> study -> training -> kernel; and the heavy libraries stay at their edges."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "harness"

# From the bottom up; a module may import from earlier lines and from its own line's left.
LAYERS = [
    ["activations", "losses", "mlp", "evaluation", "per_example", "reduction", "optimizers", "errata"],
    ["lanes", "compiled_network", "compiled_single", "compiled_evaluation", "compiled"],
    ["config", "batches", "noise", "sharpness", "diagnostics", "timing", "fingerprint", "train"],
    ["statistics", "scaling", "blocks", "files", "data", "splits"],
    ["cell", "calibration", "tables", "labels", "redaction", "provenance", "sweep_data", "stored", "answer", "notes"],
    ["verdicts", "study", "findings"],
    ["plots", "panels", "clock_plots", "rate_plots", "sweep_plots", "study_plots", "report"],
    [
        "interrupts",
        "progress",
        "outbox",
        "processes",
        "writing",
        "tracking",
        "recording",
        "grid",
        "studies",
        "sweep",
        "recovery",
        "verification",
        "composition",
        "cli",
        "__main__",
    ],
]
ORDER = [name for layer in LAYERS for name in layer]
ONLY_IN = {
    "hydra": {"cli", "composition"},
    "omegaconf": {"cli", "composition"},
    "mlflow": {"tracking"},
    "matplotlib": {"plots", "panels", "clock_plots", "rate_plots", "sweep_plots", "study_plots"},
    "rich": {"progress"},
    "sklearn": {"data", "splits"},
    "psutil": {"processes"},
    "numba": {"lanes"},
}
KERNEL = [*LAYERS[0], *LAYERS[1]]


def imports(module: str) -> set[str]:
    """Every module named by an import statement, wherever it stands; those for type checking alone left out."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "harness":
            names |= {f"harness.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names.add(node.module or "")
    return names


def test_every_module_has_its_place():
    assert sorted(ORDER) == sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("module", ORDER)
def test_imports_point_down(module):
    below = ORDER[: ORDER.index(module)]
    own = {name.removeprefix("harness.") for name in imports(module) if name.startswith("harness.")}
    assert own - {"__version__"} <= set(below)


@pytest.mark.parametrize("module", ORDER)
def test_each_library_has_one_home(module):
    for name in imports(module):
        library = name.split(".")[0]
        assert module in ONLY_IN.get(library, {module}), f"{module} imports {library}"


@pytest.mark.parametrize("module", KERNEL)
def test_the_kernel_knows_numpy_and_the_standard_library_only(module):
    """But for the compiled engine, an optional extra: Numba, and the BLAS that Numba takes from SciPy."""
    outside = {name.split(".")[0] for name in imports(module)} - {"harness", "numpy"}
    extras = {"compiled": {"threadpoolctl"}, "compiled_network": {"scipy"}, "lanes": {"numba", "llvmlite"}}
    extra = extras.get(module, set())
    assert outside <= set(sys.stdlib_module_names) | extra


def test_composing_a_command_line_imports_nothing_heavy():
    """--help and a refused value must answer at once."""
    code = (
        "import sys; sys.argv = ['harness', 'batch_size=0']; import harness.cli; assert harness.cli.main() == 2;"
        "heavy = 'mlflow', 'sklearn', 'matplotlib', 'numba', 'pandas', 'scipy', 'rich';"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
