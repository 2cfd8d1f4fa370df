"""What the emulated device is for: it shows what a kernel would do wrong on a GPU."""

import emulated_device
import numpy as np
import pytest
from cuda_backends import emulated, needs_compiler

from fastseg.kernels import reference

pytestmark = needs_compiler


def potentials(n_times):
    """Of candidates, by launches of one block; and what they are."""
    rng = np.random.default_rng(0)
    points, candidates = rng.integers(0, 256, (500, 1)).astype(np.uint8), rng.random((4, 1)) * 256
    right = reference.potentials(points, None, np.full(500, np.inf), candidates)
    backend, _ = emulated()
    found = [backend.put(points).sampler().potentials(candidates) for _ in range(n_times)]
    return [np.allclose(each, right, rtol=1e-12) for each in found]


@pytest.mark.parametrize(
    "barrier",
    ["__syncthreads();\n    double total = 0.0;", "__syncthreads();\n    return total;"],
    ids=["before a sum is read", "after it was read"],
)
def test_a_barrier_that_is_missing_shows_in_one_of_two_launches(monkeypatch, barrier):
    whole = emulated_device.source
    assert all(potentials(2))
    without = barrier.removeprefix("__syncthreads();\n")
    assert barrier in whole("assign.cu")
    monkeypatch.setattr(
        emulated_device, "source", lambda name: whole(name).replace(barrier, without)
    )
    monkeypatch.setattr(emulated_device, "library", emulated_device.library.__wrapped__)
    assert not all(potentials(2))
