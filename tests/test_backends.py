"""Backends of other packages: registered as entry points, chosen by name, and checked."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from cuda_backends import ALL

from fastseg.kernels import conformance, reference
from fastseg.kernels.backend import Partials
from fastseg.kernels.conformance import check_backend
from fastseg.kernels.simple import SimpleBackend, SimplePoints

GOOD = """
from fastseg.kernels import reference
from fastseg.kernels.simple import SimpleBackend, SimplePoints

class Points(SimplePoints):
    def nearest(self, centers):
        return reference.assign(self.values, centers)

class Backend(SimpleBackend):
    name = "other"
    points = Points
"""


@pytest.fixture
def installed(tmp_path):
    """Install a distribution: a module, and the entry points that its metadata tell of."""

    def install(distribution, code, **entry_points):
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n"
        )
        lines = [f"{name} = {module}:{value}" for name, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[fastseg.backends]", *lines, ""]))

    def run(*command):
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path), "FASTSEG_CALIBRATION": "costs.json"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def python(code):
        begin = (
            "import sys, numpy, fastseg\nimage = numpy.arange(240, dtype='uint8').reshape(12, 20)\n"
        )
        done = run("-c", begin + textwrap.dedent(code))
        return done.stdout.strip() + done.stderr.strip()[-600:]

    install.python, install.run = python, run
    return install


def test_it_is_listed_chosen_by_its_name_and_gives_the_same_answer(installed):
    installed("fastseg-other", GOOD, other="Backend")
    assert installed.python("print(fastseg.available_backends()['other'])") == "None"
    told = installed.python(
        """
        rows = numpy.random.default_rng(0).integers(0, 64, (3000, 3)).astype("uint8")
        found = [
            fastseg.KMeans(5, random_state=0, backend=name).fit(rows) for name in ("cpu", "other")
        ]
        assert (found[0].labels_ == found[1].labels_).all()
        assert (found[0].cluster_centers_ == found[1].cluster_centers_).all()
        result = fastseg.segment(image, 3, backend="other")
        print(found[1].backend_, result.backend, fastseg.segment(image, 3).backend)
        """
    )
    assert told == "other other cpu"
    info = installed.run("-m", "fastseg", "info", "--json")
    assert json.loads(info.stdout)["backends"]["other"] is None
    (directory := installed.run("-c", "import numpy; numpy.save('a.npy', numpy.eye(9))"))
    assert directory.returncode == 0
    command = ("segment", "a.npy", "b.npy", "-k", "2", "--backend", "other", "--json")
    done = installed.run("-m", "fastseg", *command)
    assert json.loads(done.stdout)["backend"] == "other", done.stderr


def test_metadata_are_read_only_where_a_name_is_not_ours(installed):
    installed("fastseg-other", GOOD, other="Backend")
    call = "fastseg.segment(image, 3, backend={!r}); "
    seen = (
        "from fastseg import backends;"
        "print(backends._registered.cache_info().misses, 'fastseg_other' in sys.modules)"
    )
    assert installed.python(call.format("auto") + call.format("cpu") + seen) == "0 False"
    assert installed.python(call.format("other") + seen) == "1 True"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nothing_like_it", "(fastseg_bad:Backend raises ModuleNotFoundError: No module"),
        ("class Backend:\n    def __init__(self): 1 / 0", "ZeroDivisionError: division by zero"),
        ("Backend = dict", "it lacks unavailable, reason_against, counter, put()"),
        (GOOD.replace('"other"', '"another"'), "it lacks name = 'other'"),
    ],
)
def test_a_broken_package_is_named_and_breaks_nothing_else(installed, code, words):
    installed("fastseg-bad", code, other="Backend")
    told = installed.python("fastseg.segment(image, 3, backend='other')")
    assert "ValueError: backend='other' cannot run this: its package fastseg-bad 1.2 is" in told
    assert words in told
    listed = installed.python("print(fastseg.available_backends()['other'])")
    assert listed.startswith("its package fastseg-bad 1.2 is broken")
    assert installed.python("print(fastseg.segment(image, 3).backend)") == "cpu"


def test_names_that_are_taken_are_refused(installed):
    installed("fastseg-evil", GOOD, cpu="Backend", auto="Backend")
    installed("fastseg-a", GOOD, other="Backend")
    installed("fastseg-b", GOOD, other="Backend")
    told = installed.python(
        """
        listed = fastseg.available_backends()
        print(listed["cpu"], "|", listed["cpu of fastseg-evil 1.2"], "|", listed["other"])
        result = fastseg.segment(image, 3, backend="cpu")
        print("auto of fastseg-evil 1.2" in listed, result.backend)
        """
    )
    assert told == (
        "None | the name 'cpu' is fastseg's own; its package has to register another one | "
        "fastseg-a 1.2 and fastseg-b 1.2 both register it; uninstall one of them\nTrue cpu"
    )


def test_a_name_that_nobody_registers_is_refused_with_those_there_are(installed):
    installed("fastseg-other", GOOD, other="Backend")
    told = installed.python("fastseg.segment(image, 3, backend='nobody')")
    assert told.endswith(
        "ValueError: backend must be one of 'auto', 'cpu', 'cuda', 'other', got 'nobody'"
    )


def test_auto_takes_it_where_its_cost_was_measured_and_is_the_least(installed):
    installed("fastseg-other", GOOD, other="Backend")
    told = installed.python(
        """
        from fastseg.costs import Calibration, Costs, machine, save_calibration
        from fastseg.backends import backend_named
        dear, cheap = Costs(9, 9, 9, 9, 9, 9), Costs(0, 0, 0, 0, 0, 0)
        save_calibration(Calibration(machine(), {"cpu": dear, "gone": cheap, "other": cheap}))
        print(fastseg.segment(image, 3).backend)
        """
    )
    assert told == "other"


class Reference(SimplePoints):
    def nearest(self, centers):
        return reference.assign(self.values, centers)


def backend_of(points_class):
    return type("Backend", (SimpleBackend,), {"name": "some", "points": points_class})()


@pytest.fixture
def few_cases(monkeypatch):
    """Of the types and shapes, those that other tests compile."""
    monkeypatch.setattr(conformance, "DTYPES", ("uint8", "float64"))
    monkeypatch.setattr(conformance, "_SHAPES", ((511, 1, 5), (2049, 3, 8)))


@pytest.mark.parametrize("backend", [*ALL, pytest.param(backend_of(Reference), id="simple")])
def test_our_own_backends_pass_the_check(backend, few_cases):
    check_backend(backend)


class LastWins(SimplePoints):
    def nearest(self, centers):
        labels, distances = reference.assign(self.values, centers[::-1])
        return len(centers) - 1 - labels, distances


class Rounded(SimplePoints):
    def nearest(self, centers):
        return reference.assign(self.values, np.float32(centers).astype(np.float64))


class RoundedLabels(SimplePoints):
    def nearest(self, centers):
        exact = reference.assign(self.values, centers)
        rounded = reference.assign(self.values, np.float32(centers).astype(np.float64))
        return (rounded if len(centers) == 4 else exact)[0], exact[1]


class Narrow(Reference):
    def accumulate(self, centers, tick=None):
        found = super().accumulate(centers, tick)
        return Partials(found.sums.astype(np.float32), found.weights, found.inertia)


class OwnDraws(Reference):
    def sampler(self):
        sampler = super().sampler()
        sampler.draw = lambda thresholds: self.values[: len(thresholds)]
        return sampler


class Stale(Reference):
    """Keeps its first answer for as many centres."""

    def nearest(self, centers):
        kept = self.__dict__.setdefault("kept", {})
        if len(centers) not in kept:
            kept[len(centers)] = super().nearest(centers)
        return kept[len(centers)]


class Wide(Reference):
    def label(self, centers, tick=None):
        labels, inertia = super().label(centers, tick)
        return labels.astype(np.int64), inertia


class Silent(Reference):
    def assign(self, centers, *, labels=None, first_label=0, tick=None):
        found = super().assign(centers, labels=labels, first_label=first_label, tick=tick)
        return found if labels is None else None


@pytest.mark.parametrize(
    ("points_class", "words"),
    [
        (Stale, r"assign\(\) again, of 511 uint8 points"),
        (Wide, r"label\(\) of 511 uint8 points .* expected int32, got int64"),
        (Silent, r"assign\(\) into uint8 of 511 uint8 points .* does not return it"),
        (LastWins, r"assign\(\) where the lowest of two nearest centers wins"),
        (Rounded, r"accumulate\(\).inertia of 511 uint8 points"),
        (RoundedLabels, r"assign\(\) of .* points .*e-13 away from a tie"),
        (Narrow, r"accumulate\(\).sums of"),
        (OwnDraws, r"draw\(\) of the sampler\(\)"),
    ],
)
def test_the_check_finds_what_is_wrong(points_class, words, few_cases):
    with pytest.raises(AssertionError, match=words):
        check_backend(backend_of(points_class))


def test_the_check_of_a_backend_that_refuses_every_problem_fails(few_cases):
    backend = backend_of(Reference)
    backend.reason_against = lambda problem: "not today"
    with pytest.raises(AssertionError, match=r"reason_against\(\) gives None for none"):
        check_backend(backend)
