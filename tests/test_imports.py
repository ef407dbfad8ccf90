"""Rooms import one way, through each other's doors; each heavy library has one home."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "harness"

# The way that data flows; a room imports only from those before it.
ROOMS = (
    "network", "compiled", "config", "data", "training", "inference", "analysis", "report", "store", "runs", "app",
    "api",
)  # fmt: skip
HOME = {
    "hydra": "app", "omegaconf": "app", "mlflow": "store", "matplotlib": "report", "numba": "compiled",
    "llvmlite": "compiled", "sklearn": "data", "rich": "runs", "psutil": "store", "markdown_it": "report",
    "bokeh": "report", "PIL": "report", "pyarrow": "data", "joblib": "app", "ray": "app", "submitit": "app",
    "sqlalchemy": "store", "requests": "store",
}  # fmt: skip
MODULES = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.glob("*/*.py"))


def imports(module: str, typing: bool = True) -> set[tuple[str, str]]:
    """(module, name) of every import statement, wherever it stands; (module, "") of `import module`.

    typing: those for type checking alone too.
    """
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf8"))
    guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    left_out = set() if typing else {inner for node in guarded for inner in ast.walk(node)}
    names = set()
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            names |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names |= {(node.module or "", alias.name) for alias in node.names}
    return names


def own_imports(module: str) -> set[tuple[str, str]]:
    return {(source, name) for source, name in imports(module) if source.split(".")[0] == "harness"}


def test_every_room_has_its_place():
    assert sorted(ROOMS) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for(room):
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf8"))
    assert len(ast.get_docstring(tree) or "") > 80


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way_and_go_through_the_door(module):
    """From its own room a module takes what it likes; from an earlier one what its __init__ offers, or a module."""
    room = module.split("/")[0]
    earlier = ROOMS[: ROOMS.index(room)]
    for source, name in own_imports(module):
        path = source.split(".")
        if source == "harness" and name == "__version__":
            continue
        assert path[1] == room or (path[1] in earlier and len(path) == 2), f"{module} imports {name} from {source}"


@pytest.mark.parametrize("module", MODULES)
def test_each_library_has_one_home(module):
    room = module.split("/")[0]
    for source, _ in imports(module, typing=False):
        library = source.split(".")[0]
        assert HOME.get(library, room) == room, f"{module} imports {library}"


@pytest.mark.parametrize("module", MODULES)
def test_figures_are_made_without_pyplot(module):
    """It needs a display or a choice against one, and keeps every figure."""
    assert not {("matplotlib.pyplot", ""), ("matplotlib", "pyplot")} & imports(module)
    assert "matplotlib.pyplot" not in {source for source, _ in imports(module)}


@pytest.mark.parametrize("module", [name for name in MODULES if name.split("/")[0] in ("network", "compiled")])
def test_the_kernel_knows_numpy_and_the_standard_library_only(module):
    """But for the compiled engine, an optional extra: Numba, and the BLAS that Numba takes from SciPy."""
    outside = {source.split(".")[0] for source, _ in imports(module)} - {"harness", "numpy"}
    extra = {"numba", "llvmlite", "scipy", "threadpoolctl"} if module.startswith("compiled/") else set()
    assert outside <= set(sys.stdlib_module_names) | extra


def test_composing_a_command_line_imports_nothing_heavy():
    """--help and a refused value must answer at once."""
    code = (
        "import sys; sys.argv = ['harness', 'batch_size=0']; from harness.app import main; assert main() == 2;"
        "heavy = 'mlflow', 'sklearn', 'matplotlib', 'numba', 'pandas', 'scipy', 'rich';"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_package_loads_at_most_numpy():
    code = "import sys; before = set(sys.modules); import harness; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in ast.literal_eval(done.stdout)}
    assert loaded - set(sys.stdlib_module_names) <= {"harness", "numpy"}
