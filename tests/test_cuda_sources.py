"""What NVIDIA's compiler makes of the kernels, read without a GPU.

The compiler comes as a wheel; it reports what spills, and its intermediate code (PTX)
shows fused multiply-adds and atomic operations.
"""

import re

import numpy as np
import nvrtc
import pytest

from fastseg.kernels.cuda.points import MAX_UNROLLED, compiled_for
from fastseg.kernels.cuda.source import FOLDER, OPTIONS, defines, source

pytestmark = pytest.mark.skipif(
    nvrtc.library() is None, reason="no wheel nvidia-cuda-nvrtc, which compiles the CUDA kernels"
)

# CuPy compiles with them.
AS_CUPY = ["--device-as-default-execution-space", "-ftz=true"]
ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100", "sm_120")
POINT_FILES = ("accumulate.cu", "accumulate_many.cu", "assign.cu")
# Features of each width of a pack of points, and any number of them.
FEATURES = (1, 3, 6, 16, 0)
DTYPES = ("uint8", "uint16", "int16", "float32", "float64")


def of_points(dtype, n_features):
    return compiled_for(np.dtype(dtype), n_features or 99)


# Every file for every architecture, and with every type and number of features.
CASES = [
    (file, ARCHITECTURES[(i + 2 * k + m) % 5], of_points(dtype, FEATURES[(i + k + m) % 5]))
    for k, file in enumerate(POINT_FILES)
    for i, dtype in enumerate(DTYPES)
    for m in (0, 2)
]
CASES += [("wide.cu", a, of_points(t, 0)) for a, t in zip(ARCHITECTURES, DTYPES, strict=True)]
CASES += [("count.cu", a, defines(CODE="uint16")) for a in ARCHITECTURES]
CASES += [("count.cu", "sm_90", defines(CODE="uint8"))]
CASES += [
    ("look_up.cu", a, defines(CODE=code, LABEL=label))
    for a, code, label in [
        ("sm_75", "uint8", "uint8"),
        ("sm_80", "uint16", "uint16"),
        ("sm_90", "uint16", "uint8"),
        ("sm_100", "uint8", "int32"),
        ("sm_120", "uint16", "int32"),
    ]
]


def named(case):
    macros = [option.split("=")[1] for option in case[2]]
    return "-".join([case[0].removesuffix(".cu"), case[1], *macros])


def compiled(file, architecture, options):
    return nvrtc.compile_cuda(
        source(file),
        file,
        [f"-arch={architecture}", *AS_CUPY, "--ptxas-options=-v", *OPTIONS, *options],
    )


@pytest.mark.parametrize("case", CASES, ids=named)
def test_what_the_compiler_makes_of_a_kernel(case):
    check_kernel(*case)


def test_every_specialised_kernel(times, figure):
    """A few of them, and with --torture each: types, features and architectures."""
    every = [
        (file, architecture, of_points(dtype, n_features))
        for n_features in range(MAX_UNROLLED + 1)
        for file in POINT_FILES
        for dtype in DTYPES
        for architecture in ARCHITECTURES
    ]
    for case in every[:: len(every) // times(4, len(every))]:
        check_kernel(*case)
    figure(
        "compiling the CUDA kernels for every type, number of features and architecture",
        f"{len(every):,} compilations: no spill in a specialised kernel, no fused float64 product,"
        " no compare-and-swap",
    )


def check_kernel(file, architecture, options):
    ptx, log = compiled(file, architecture, options)
    assert f".target {architecture}" in ptx
    assert "warning" not in log
    # Rounded twice: a fused product and sum is another number than the CPU's.
    assert "mul.rn.f64" in ptx or "f64" not in ptx
    assert not re.search(r"fma\.\w+\.f64", ptx)
    # Subnormal numbers of float32 would become zero.
    assert "cvt.ftz.f64" not in ptx
    if file != "wide.cu":
        # And so would the names of centres in the last bits of a distance.
        assert not re.search(r"(min|max)\.ftz", ptx)
    # Arrays that are indexed by numbers known only at run time would live in memory.
    assert ".local" not in ptx
    if "-DN_FEATURES=0" not in options:
        spilled = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", log)
        assert spilled
        assert set(spilled) == {("0", "0")}
    check_atomics(ptx)


def check_atomics(ptx):
    """In shared memory only what it does in hardware: others become loops."""
    atomics = re.findall(r"\b(?:atom|red)\.(\S+)", ptx)
    for operation in atomics:
        assert ".cas" not in operation
        assert operation.endswith("add.u32") or (
            "shared" not in operation and operation.endswith("add.u64")
        )
        assert "shared" in operation or "global" in operation


def test_every_file_is_compiled_for_every_architecture():
    files = {path.name for path in FOLDER.glob("*.cu")}
    assert {(file, a) for file, a, _ in CASES} == {(f, a) for f in files for a in ARCHITECTURES}


def test_centres_of_few_clusters_are_read_from_constant_memory():
    ptx, _ = compiled("accumulate.cu", "sm_90", of_points("float32", 3))
    # The address is computed, so this is a centre and no other parameter.
    loop = ptx[: re.search(r"fma\.rn\.\S*f32", ptx).start()].rsplit("BB", 1)[1]
    assert re.search(r"ld\.param\.\S+\s+.*\[%rd", loop)


def test_points_are_loaded_as_vectors():
    for dtype, load in [("float32", r"ld\.global\.v4\.\w+"), ("uint8", r"ld\.global\.v4\.\w*8")]:
        ptx, _ = compiled("assign.cu", "sm_90", of_points(dtype, 3))
        assert re.search(load, ptx), dtype


def test_errors_name_file_and_line():
    lines = source("assign.cu").splitlines()
    at = next(i for i, line in enumerate(lines) if "Pack<Label, PACK> out;" in line)
    lines[at] += " oops"
    number = (FOLDER / "assign.cu").read_text().splitlines().index(lines[at][:-5]) + 1
    with pytest.raises(RuntimeError, match=rf"assign.cu\({number}\): error"):
        nvrtc.compile_cuda("\n".join(lines), "assign.cu", [*OPTIONS, *of_points("uint8", 3)])
