"""No float64 product is fused into a sum: a fused one is rounded once, others twice.

In float32 products may be fused: it only proposes what float64 decides.

The machine code of the kernels is searched for fused multiply-adds, as compiled for
this processor, and from the same intermediate code for 64-bit Arm and for x86 with
AVX-512 where this build of LLVM knows them.
"""

import re
from unittest import mock

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import njit

from fastseg.kernels.cpu import (
    CpuBackend,
    cell_sampler,
    cells,
    lloyd,
    optimal_1d,
    sorted_points,
    tree,
)
from fastseg.kernels.cpu.cells import Cells

FUSED = re.compile(
    r"\bvfn?m(add|sub)\w*[ps]d\b"  # x86, of doubles
    r"|\bfml[as]\s+(v\d+\.2d|d)|\bfn?m(add|sub)\s+d"  # Arm, of doubles
)
TARGETS = {
    "aarch64-unknown-linux-gnu": ("generic", "+neon"),
    "x86_64-unknown-linux-gnu": ("skylake-avx512", "+fma"),
}


def kernels():
    yield lloyd.kernel_for("accumulate", "uint8", 3)
    yield lloyd.kernel_for("assign", "float32", 5, "int32")
    yield lloyd.kernel_for("potentials", "uint8", 2)
    yield lloyd.kernel_for("accumulate", "float32", 40)
    yield lloyd.kernel_for("assign", "float32", 40, "int32")
    yield lloyd.kernel_for("potentials", "float32", 40)
    values = np.arange(9000).reshape(-1, 3).astype(np.uint16)
    points = CpuBackend().put(values, np.ones(3000), repeated=True)
    with mock.patch.object(cells, "compiled", side_effect=cells.compiled) as spy:
        made = Cells(values, np.ones(3000), 1)
        made.accumulate(np.arange(9.0).reshape(3, 3), None)
        made.exact = False
        made.accumulate(np.arange(9.0).reshape(3, 3), None)
    with mock.patch.object(cell_sampler, "compiled", side_effect=cells.compiled) as spy_too:
        points.sampler().add(np.zeros(3))
    ramp, ones = np.arange(5000.0), np.ones(5000)
    with mock.patch.object(optimal_1d, "compiled", side_effect=cells.compiled) as spy_1d:
        optimal_1d._kernels.cache_clear() if hasattr(optimal_1d._kernels, "cache_clear") else None
        optimal_1d.solve(ramp, ones, 4, 1, lambda layer: None)
    with mock.patch.object(sorted_points, "compiled", side_effect=cells.compiled) as spy_sorted:
        sorted_points.SortedPoints(ramp[:, None], ones, True, 1).accumulate(ramp[:3, None] * 99)
    with mock.patch.object(tree, "compiled", side_effect=cells.compiled) as spy_tree:
        tree._kernels.cache_clear()
        tree.leaves_below(tree.tree_1d(ramp, ones, None)[0])
        tree.tree_nd(values[:9] / 27.0, ones[:9], np.ones(3) / 3, None)
    calls = [spy, spy_too, spy_1d, spy_sorted, spy_tree]
    assert all(made.call_args_list for made in calls)
    # Once each: what is compiled anew takes a second.
    yield from dict.fromkeys(
        cells.compiled(*call.args) for made in calls for call in made.call_args_list
    )


@pytest.fixture(scope="module")
def codes():
    """Intermediate and machine code of each kernel."""
    return [code_of(kernel) for kernel in kernels()]


def code_of(kernel):
    (signature,) = kernel.signatures
    try:
        return kernel.inspect_llvm(signature), kernel.inspect_asm(signature)
    except UserWarning:  # it came from the cache, which keeps no source
        fresh = njit(signature, nogil=True)(kernel.py_func)
        return fresh.inspect_llvm(signature), fresh.inspect_asm(signature)


def test_the_search_finds_what_it_should():
    for line in ("vfmadd231pd %zmm1", "fmla v0.2d, v1.2d", "fmadd d0, d1", "fnmsub d0, d1"):
        assert FUSED.search(line.replace(" ", "\t", 1))
    for line in ("vmulpd %zmm0", "fmul v0.2d", "vaddpd %ymm1", "vfmadd231ps %zmm1", "fmls v0.4s"):
        assert not FUSED.search(line)


def check(assemblies):
    for assembly in assemblies:
        assert not FUSED.search(assembly)
    with_products = ["mul" in assembly for assembly in assemblies]
    assert sum(with_products) > len(with_products) // 2


def test_here(codes):
    check([assembly for _, assembly in codes])


@pytest.mark.parametrize("triple", TARGETS)
def test_elsewhere(codes, triple):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this build of LLVM has no {triple}")
    cpu, features = TARGETS[triple]
    machine = target.create_target_machine(cpu=cpu, features=features, opt=3)
    assemblies = []
    for intermediate, _ in codes:
        text = re.sub(r'target triple = ".*"', f'target triple = "{triple}"', intermediate)
        text = re.sub(r'target datalayout = ".*"\n', "", text)
        # What only x86 has, in the counting of references, becomes a call to somewhere.
        text = text.replace("llvm.x86.", "elsewhere.").replace(" immarg", "")
        assemblies.append(machine.emit_assembly(llvm.parse_assembly(text)))
    check(assemblies)
