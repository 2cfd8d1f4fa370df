"""The architecture in the README, kept true: who may import whom, and what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastseg

ROOT = Path(fastseg.__file__).parent
KERNELS = Path(sys.modules["fastseg"].__path__[-1]) / "kernels"

# Each module may import those of the lines above its own.
LAYERS = [
    ["kernels"],
    ["array_libraries"],
    ["arrays", "memory", "progress", "io"],
    ["parameters"],
    ["costs", "backends"],
    ["pictures.drawing", "dispatch", "init_centers", "color", "validity"],
    ["resident"],
    ["summary", "pixels", "dask.cluster"],
    ["solver", "streaming.reading", "pictures.side_by_side", "dask.images"],
    ["streaming.counting", "dask.counting"],
    ["dask.pieces"],
    ["dask.points", "dask.survey"],
    ["dask.rows"],
    ["optimal_1d", "ward", "minibatch"],
    ["estimators.functional", "estimators.counterpart", "streaming.preview"],
    ["estimators.base"],
    ["methods", "standardizing", "foreground", "class_names", "streaming.options"],
    ["matching", "labelling"],
    ["sweep", "model_file", "dask.labels", "dask.predict"],
    ["fitting"],
    ["fitting_in_parts"],
    ["model", "estimators.kmeans", "estimators.minibatch"],
    ["segmentation", "estimators.patching", "semi_supervised"],
    ["streaming.fit", "streaming.labels", "dask.fit"],
    ["dask.segment", "dask.files"],
    ["pipeline", "distances", "components", "streaming.segment", "streaming.predict"],
    ["specks"],
    ["choosing_k", "pictures.dendrogram", "pictures.views"],
    ["comparison", "pictures.report"],
    ["bench"],
    ["cli", "napari"],
]


LEVELS = {name: level for level, layer in enumerate(LAYERS) for name in layer}


def imported(path):
    """Modules of fastseg that a module imports, and the folders they are in, as in LAYERS."""
    package = path.relative_to(ROOT.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            parts = (*base, *(node.module or "").split("."))
            for alias in node.names:
                whole = [part for part in (*parts, alias.name) if part]
                if whole[0] == "fastseg":
                    yield from {".".join(whole[1:end]) for end in (2, 3)}


def layered(path):
    """Name in LAYERS of a module: its own, or that of its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] in LEVELS else ".".join(parts)


MODULES = [
    path
    for path in ROOT.rglob("*.py")
    if KERNELS not in path.parents and path.stem not in ("__init__", "__main__")
]


def test_every_module_has_its_layer():
    assert {layered(path) for path in MODULES} == set(LEVELS) - {"kernels"}


def test_nothing_imports_backwards():
    for path in MODULES:
        for name in set(imported(path)) & set(LEVELS) - {layered(path)}:
            assert LEVELS[name] < LEVELS[layered(path)], f"{path} imports {name}"


def test_kernels_import_nothing_of_fastseg():
    files = list(KERNELS.rglob("*.py"))
    assert files
    for path in files:
        depth = len(path.relative_to(KERNELS).parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= depth, path
                assert not (node.module or "").startswith("fastseg"), path


def test_only_the_kernels_import_numba():
    for path in ROOT.rglob("*.py"):
        if KERNELS not in path.parents:
            names = [n for node in ast.walk(ast.parse(path.read_text())) for n in _names(node)]
            assert "numba" not in {name.split(".")[0] for name in names}, path


def _names(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


def test_modules_are_small():
    for path in [*ROOT.rglob("*.py"), *KERNELS.rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= 350, path


def run(code, *options, cwd=None):
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=True,
        timeout=60,
    ).stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "numpy",
        "numba",
        "sklearn",
        "cupy",
        "PIL",
        "click",
        "rich",
        "matplotlib",
        "nibabel",
        "cc3d",
        "zarr",
        "rasterio",
        "openslide",
        "tifffile",
        "dask",
        "distributed",
    ],
)
def test_importing_fastseg_loads_nothing_heavy(module):
    assert run(f"import sys, fastseg; print({module!r} in sys.modules)") == "False"


@pytest.mark.parametrize("module", ["sklearn", "scipy.linalg"])
def test_segment_does_not_load(module):
    code = "import sys, numpy, fastseg; fastseg.segment(numpy.eye(9), 2);"
    assert run(code + f"print({module!r} in sys.modules)") == "False"


def test_the_kernels_of_others_may_use_scipys_blas_all_the_same():
    code = (
        "import numba, numpy, fastseg; fastseg.segment(numpy.eye(9), 2)\n"
        "@numba.njit\n"
        "def product(a, b): return numpy.dot(a, b)\n"
        "print(product(numpy.eye(2), numpy.ones((2, 2))).tolist())"
    )
    assert run(code) == "[[1.0, 1.0], [1.0, 1.0]]"


def test_every_public_name_is_there():
    for name in fastseg.__all__:
        assert getattr(fastseg, name) is not None
    assert callable(fastseg.segment)
    with pytest.raises(AttributeError, match="nonsense"):
        fastseg.nonsense  # noqa: B018


def test_the_root_of_a_checkout_works_without_an_install(tmp_path):
    """There the folder fastseg/ shadows an installed package and has no kernels inside."""
    if (ROOT / "kernels").is_dir():
        pytest.skip("the installed package is tested, not a checkout")
    code = "import numpy, fastseg; print(fastseg.segment(numpy.eye(9), 2).counts.tolist())"
    # -S -E leave site-packages out, and with them the editable install's hook.
    path = [p for p in sys.path if p.endswith("site-packages")]
    code = f"import sys; sys.path.extend({path!r}); " + code
    assert run(code, "-S", "-E", cwd=ROOT.parent) == "[72, 9]"
