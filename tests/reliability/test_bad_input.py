"""Any array for any argument: the right answer, or one error of one line that says what to do.

Types x layouts x contents. What float64 holds exactly is an answer, that of Lloyd's
iterations in plain NumPy or of the same values as an ordinary array; the rest is refused.
``--torture`` tries all layouts of all contents at all entry points, which differ in little.
"""

import re
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastseg
from fastseg.kernels import reference
from fastseg.semi_supervised import ClusterLabeler

PACKAGE = Path(fastseg.__file__).parent
N, K = 60, 3
TYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "longdouble", "complex64", "complex128"),
    *("datetime64[s]", "timedelta64[s]", "S2", "U2", "u1, f4"),
]
LAYOUTS = [
    *("C", "F", "reversed", "read-only", "memory map", "big-endian", "every other"),
    *("empty", "0-d", "object"),
]
CONTENTS = [
    *("ordinary", "NaN", "infinite", "-infinite", "constant", "masked", "few distinct"),
    *("huge", "tiny", "negative", "subnormal"),
]
BASE = np.random.default_rng(7).integers(0, 100, (N, 3))
BASE[:2] = [[11, 23, 35], [90, 40, 60]]  # those of few distinct values
FLOATS = BASE.astype(np.float64)


def values_of(kind, content):
    """Values (N, 3) of a type, or None where it has no such ones."""
    dtype = np.dtype(kind)
    special = {"NaN": np.nan, "infinite": np.inf, "-infinite": -np.inf}.get(content)
    if dtype.kind == "b":
        values = BASE % 2 == 1
    elif dtype.names:
        values = np.zeros((N, 3), dtype)
        values["f0"] = BASE
    else:
        values = BASE.astype(dtype)
    if content in ("constant", "few distinct"):
        rows = values[[0, 0]] if content == "constant" else values[:2]
        return rows[np.arange(N) % 2]
    if content == "masked":
        return np.ma.array(values, mask=True)
    if content == "ordinary":
        return values
    if special is not None and dtype.kind in "fc":
        values[7, :2] = special
        return values
    if content == "negative" and dtype.kind in "if":
        return (BASE - 100).astype(dtype)
    if content == "huge" and dtype.kind in "iu":
        return np.iinfo(dtype).max - 1 - values
    scale = {"huge": "max", "tiny": "tiny", "subnormal": "smallest_subnormal"}.get(content)
    if scale is None or dtype.kind != "f":
        return None
    if content == "huge":
        values = values / dtype.type(128)
    return values * getattr(np.finfo(dtype), scale)


def laid_out(values, layout, folder):
    """The same values in another layout."""
    if layout == "F":
        return np.asfortranarray(values) if not np.ma.isMA(values) else values.copy(order="F")
    if layout == "reversed":
        return values[::-1, ::-1].copy()[::-1, ::-1]
    if layout == "read-only":
        values = values.copy()
        values.flags.writeable = False
    if layout == "memory map":
        path = folder / "values.bin"
        kept = np.memmap(path, values.dtype, "w+", shape=values.shape)
        kept[:] = np.ma.getdata(values)
        return np.ma.array(kept, mask=True) if np.ma.isMA(values) else kept
    if layout == "big-endian":
        return values.astype(values.dtype.newbyteorder(">"))
    if layout == "every other":
        return np.repeat(np.repeat(values, 2, axis=0), 2, axis=1)[::2, ::2]
    if layout == "empty":
        return values[:0]
    if layout == "0-d":
        return values[0, 0, ...]
    if layout == "object":
        objects = np.ma.getdata(values).astype(object)
        return np.ma.array(objects, mask=True) if np.ma.isMA(values) else objects
    return values


def lloyd(values, centers):
    """Lloyd's iterations by the kernels' oracle: labels, centres and inertia."""
    while True:
        partials = reference.accumulate(values, None, centers)
        assert partials.weights.all()
        means = partials.sums / partials.weights[:, None]
        if np.array_equal(means, centers):
            break
        centers = means
    return reference.assign(values, centers)[0], centers, partials.inertia


def start(x):
    """The first distinct rows, in float64; any, where there are no numbers."""
    if x.dtype.kind == "c" or x.ndim < 2:
        return FLOATS[:K]
    try:
        with np.errstate(all="ignore"):
            rows = np.ma.getdata(x).astype(np.float64)
        _, first = np.unique(rows, axis=0, return_index=True)
        rows = np.resize(rows[np.sort(first)[:K]], (K, 3))
    except (TypeError, ValueError, OverflowError):
        return FLOATS[:K]
    return rows if np.isfinite(rows).all() else FLOATS[:K]


# Entry points: an array (N, 3), or a part of it, to a tuple of results.


def k_means(x):
    centers, labels, inertia = fastseg.k_means(x, K, init=start(x), tol=0)
    return labels, centers, inertia


def estimator(x):
    fitted = fastseg.KMeans(K, init=start(x), n_init=1, tol=0).fit(x)
    np.testing.assert_array_equal(fitted.predict(x), fitted.labels_)
    return fitted.labels_, fitted.cluster_centers_, fitted.inertia_


def as_image(x):
    return x if x.ndim < 2 else x.reshape(len(x) // 10, 10, 3)


def as_grey(x):
    return x if x.ndim < 2 else x[:, 0].reshape(len(x) // 10, 10)


def colours(x):
    found = fastseg.segment(as_image(x), K, init=start(x), method="lloyd", tol=0)
    order = np.argsort(found.centers @ [0.2126, 0.7152, 0.0722], kind="stable")
    assert np.array_equal(order, np.arange(K))
    return found.labels.ravel(), found.centers, found.inertia


def grey(x):
    found = fastseg.segment(as_grey(x), K)
    return found.labels.ravel(), found.centers, found.inertia


def batches(x):
    fitted = fastseg.MiniBatchKMeans(K, init=start(x), n_init=1, random_state=0).fit(x)
    return fitted.labels_, fitted.cluster_centers_


FITTED = fastseg.KMeans(K, random_state=0)
MODEL = fastseg.segment(FLOATS.reshape(6, 10, 3), K, random_state=0)


def fitted():
    return FITTED if hasattr(FITTED, "labels_") else FITTED.fit(FLOATS)


def predict(x):
    return fitted().predict(x), fitted().score(x)


def transform(x):
    return (fitted().transform(x).astype(np.float64),)


def model(x):
    return (MODEL.predict(as_image(x), allow_dtype=True).ravel(),)


def weights(x):
    given = x[:, 0] if x.ndim else x.reshape(1)
    return fastseg.k_means(FLOATS, K, init=FLOATS[:K], sample_weight=given)[:2]


def centres(x):
    given = x[:K] if x.ndim else x
    return fastseg.k_means(FLOATS, K, init=given, max_iter=1000)[:2]


def mask(x):
    return (fastseg.segment(FLOATS[:, 0].reshape(6, 10), K, mask=as_grey(x)).labels,)


def ward(x):
    found = fastseg.segment(as_grey(x), K, method="ward")
    return found.labels.ravel(), found.centers


def standardized(x):
    found = fastseg.segment(as_image(x), K, init=start(x), standardize=True)
    return found.labels.ravel(), found.centers


def scan(x):
    return (fastseg.scan(as_grey(x), [2, 3]).inertia,)


def components(x):
    return (fastseg.objects(as_grey(x)).pixels,)


def specks(x):
    return (fastseg.remove_specks(as_grey(x), 2).astype(np.float64),)


def few_labels(x):
    y = np.where(np.arange(N) < 9, np.arange(N) % 3, -1)
    return (ClusterLabeler(K, random_state=0).fit(x, y).transduction_,)


ROWS = [k_means, estimator, batches, predict, transform, few_labels]
IMAGES = [colours, grey, model, ward, standardized, scan]
FITS = [k_means, estimator, batches, few_labels, colours, grey, ward, standardized, scan]
LABELS = [components, specks]
NAMES = {weights: "sample_weight", centres: "init", mask: "mask", components: "labels"}
NAMES |= {specks: "labels"} | dict.fromkeys(ROWS, "X") | dict.fromkeys(IMAGES, "image")


def refused_for(entry, kind, layout, content):
    """What is wrong with a cell, in words of the message, or None where there is an answer."""
    dtype = np.dtype(kind)
    images = entry in IMAGES or entry in LABELS or entry is mask
    if layout in ("empty", "0-d") or (content == "masked" and entry not in IMAGES):
        return ""
    if layout == "object" and images:
        return "dtype object|must hold integers"
    if content == "masked":
        return "dtype" if dtype.kind not in "biuf" or kind == "longdouble" else "left out"
    if layout == "object" and (dtype.kind not in "biuf" or kind == "longdouble"):
        return "objects|no number"
    if entry in LABELS:
        return _refused_as_labels(dtype, content)
    if dtype.kind not in "biuf":
        return "dtype"
    if entry is mask:
        return "NaN" if content == "NaN" else None
    if kind == "longdouble":
        return "dtype"
    if content in ("NaN", "infinite", "-infinite"):
        leaves_out = content == "NaN" and entry in IMAGES
        return None if leaves_out or entry is centres else "NaN|infinite|finite numbers"
    if content == "huge" and dtype.itemsize == 8:
        return "2\\*\\*53|beyond|divide it"
    if (content, kind, entry) == ("huge", "float32", transform) and layout != "object":
        return "float32 cannot hold"
    if content in ("tiny", "subnormal") and kind == "float64":
        return "spans only|divide it" if entry in FITS or entry is weights else None
    if entry is weights and content in ("negative",):
        return "at least 0"
    few = {"constant": 1, "few distinct": 2}.get(content, 2 if kind == "bool" else K)
    by_value = few < K if entry in (grey, ward, scan) else content in ("constant", "few distinct")
    if by_value and entry in (grey, ward, scan, colours, standardized):
        return "distinct"
    return None


def _refused_as_labels(dtype, content):
    if dtype.kind not in "bui":
        return "must hold integers"
    return (
        "from 0 to" if content == "negative" or (content, dtype.itemsize) == ("huge", 8) else None
    )


def called(entry, x):
    """Results or the error, and the warnings."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            return entry(x), told
        except Exception as error:
            return error, told


def check_refusal(entry, error, words):
    assert isinstance(error, (ValueError, TypeError)), error
    message = str(error)
    assert "\n" not in message
    assert len(message) < 300
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    assert PACKAGE in Path(raised_in).parents, raised_in
    assert re.search(words, message), message
    argument = NAMES[entry]
    assert re.search(rf"\b{argument}\b|n_clusters|every pixel|initial centers", message), message
    assert re.search(";|must|expected|required|does not match", message), message


def check_answer(entry, x, found):
    x = np.ma.getdata(x)
    plain = np.array(x != 0 if entry is mask else x, np.float64, order="C")
    if entry in (k_means, estimator):
        expected = lloyd(plain, start(x))
    elif entry is colours and np.isfinite(plain).all():
        labels, centers, inertia = lloyd(plain, start(x))
        order = np.argsort(centers @ [0.2126, 0.7152, 0.0722], kind="stable")
        expected = np.argsort(order)[labels], centers[order], inertia
    else:
        expected = entry(plain.astype(x.dtype.newbyteorder("=")) if entry in LABELS else plain)
    for ours, theirs in zip(found, expected, strict=True):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert ours.shape == theirs.shape
        if ours.dtype.kind in "iu":
            np.testing.assert_array_equal(ours, theirs)
        else:
            rtol = 1e-6 if entry is transform else 1e-12
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=0)


def check_of_few(x, found):
    """More clusters than distinct points: equal points get the same label, at no distance."""
    labels, _, *inertia = found
    _, same = np.unique(np.asarray(x, np.float64), axis=0, return_inverse=True)
    for value in range(same.max() + 1):
        assert len(set(np.asarray(labels)[same.ravel() == value])) == 1
    assert not inertia or inertia[0] == 0.0


def check(entry, kind, layout, content, folder):
    """Whether a cell gave an answer; None where a type has no such contents."""
    values = values_of(kind, content)
    if values is None:
        return None
    x = laid_out(values, layout, folder)
    found, told = called(entry, x)
    words = refused_for(entry, kind, layout, content)
    few = content in ("constant", "few distinct") and entry in (
        k_means, estimator, batches, few_labels,
    )  # fmt: skip
    if words is not None:
        assert isinstance(found, Exception), f"no error, but {found}"
        check_refusal(entry, found, words)
        assert not told
        return False
    if isinstance(found, Exception):
        raise found
    telling = [w for w in told if not (few and issubclass(w.category, fastseg.ConvergenceWarning))]
    assert not telling, telling[0].message
    if few and entry in (k_means, estimator):
        assert told
        check_of_few(x, found)
    elif not few:
        check_answer(entry, x, found)
    return True


GROUPS = {
    "points, to k_means, KMeans, MiniBatchKMeans and ClusterLabeler": ROWS,
    "images, to segment, scan and predict": IMAGES,
    "weights, starts, masks and label images": [weights, centres, mask, *LABELS],
}


@pytest.mark.parametrize("group", GROUPS)
def test_every_cell_gives_the_right_answer_or_one_error(group, tmp_path, times, figure):
    whole = times(False, True)
    counts = {True: 0, False: 0}
    for entry in GROUPS[group]:
        for kind in TYPES:
            for layout in LAYOUTS:
                for content in CONTENTS:
                    if not whole and content != "ordinary" and layout != "C":
                        continue
                    try:
                        answered = check(entry, kind, layout, content, tmp_path)
                    except Exception as error:
                        cell = f"{entry.__name__}, {kind}, {layout}, {content}"
                        raise AssertionError(f"{cell}: {error!r}") from error
                    if answered is not None:
                        counts[answered] += 1
    assert counts[True]
    assert counts[False]
    figure(
        f"{len(TYPES)} types x {len(LAYOUTS)} layouts x {len(CONTENTS)} contents of {group}",
        f"{counts[True]:,} right answers, {counts[False]:,} errors of one line, 0 of anything else",
    )
