"""fastseg against scikit-learn in float64, from the same starting centres.

Labels and numbers of iterations must be equal, centres to 1e-9 and inertias to 1e-9
of their value. That holds where no point is equally far from two centres: the two
libraries round distances differently, so a tie may fall either way. Starts are
therefore shifted by random real numbers, and for images, whose values repeat and
whose means are fractions, `assert_tie_free` follows the iterations and looks.

scikit-learn runs on one thread: on several it adds partial sums in the order in
which they happen to arrive, and with ``tol=0`` the last bit decides when to stop.
"""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import sklearn.cluster
import sklearn.exceptions
from sklearn.datasets import load_sample_image, make_blobs
from threadpoolctl import threadpool_limits

import fastseg
from fastseg.color import label_order
from fastseg.init_centers import random_points
from fastseg.kernels import reference
from fastseg.kernels.cpu.points import chunk_size

TOLERANCES = [1e-4, 0]


def theirs(X, n_clusters, *, init, n_init=1, sample_weight=None, **options):
    """scikit-learn's fit in float64, on one thread."""
    estimator = sklearn.cluster.KMeans(n_clusters, init=init, n_init=n_init, **options)
    with threadpool_limits(1, user_api="openmp"):
        return estimator.fit(np.asarray(X, dtype=np.float64), sample_weight=sample_weight)


def ours(X, n_clusters, *, init, n_init=1, sample_weight=None, **options):
    """The fit of `fastseg.KMeans`."""
    estimator = fastseg.KMeans(n_clusters, init=init, n_init=n_init, **options)
    return estimator.fit(X, sample_weight=sample_weight)


def assert_close_centers(centers, expected):
    # 1e-9 for values in the hundreds. scikit-learn's own rounding of means of 16-bit
    # values is of that size (ours are exact, see test_centres_of_integers_are_exact).
    np.testing.assert_allclose(centers, expected, rtol=1e-12, atol=1e-9)


def assert_same_fit(fit, expected):
    np.testing.assert_array_equal(fit.labels_, expected.labels_)
    assert fit.n_iter_ == expected.n_iter_
    assert_close_centers(fit.cluster_centers_, expected.cluster_centers_)
    np.testing.assert_allclose(fit.inertia_, expected.inertia_, rtol=1e-9, atol=1e-9)


def assert_same_segmentation(segmentation, expected):
    """The same, for labels in ascending luminance and on the image's grid."""
    order = label_order(expected.cluster_centers_)
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    np.testing.assert_array_equal(segmentation.labels.ravel(), rank[expected.labels_])
    assert segmentation.n_iter == expected.n_iter_
    assert segmentation.converged
    assert_close_centers(segmentation.centers, expected.cluster_centers_[order])
    np.testing.assert_allclose(segmentation.inertia, expected.inertia_, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(
        segmentation.counts, np.bincount(expected.labels_, minlength=len(order))[order]
    )


def assert_tie_free(pixels, start):
    """No pixel is nearly as far from two centres in any iteration until nothing changes.

    With ``tol=0``; a larger one stops earlier on the same way. The margin is a thousand
    times what a squared distance of this size can be off by.
    """
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    values = values.astype(np.float64)
    margin = 1e-12 * np.sum(np.ptp(values, axis=0) ** 2)
    centers, labels = start, None
    while len(start) > 1:
        distances = reference.distances(values, centers)
        previous, labels = labels, distances.argmin(axis=1)
        if np.array_equal(labels, previous):
            return
        nearest, second = np.partition(distances, 1, axis=1)[:, :2].T
        assert (second - nearest).min() > margin
        centers = np.stack(
            [
                np.bincount(labels, counts * channel, len(start)) / np.bincount(labels, counts)
                for channel in values.T
            ],
            axis=1,
        )


def start_at(pixels, n_clusters, seed):
    """Centres near distinct values of the pixels, shifted by a real number."""
    rng = np.random.default_rng(seed)
    values = np.unique(pixels, axis=0).astype(np.float64)
    rows = rng.choice(len(values), n_clusters, replace=False)
    shift = 0.01 * values.std(axis=0)
    return values[rows] + shift * rng.normal(size=(n_clusters, values.shape[1]))


# ---------------------------------------------------------------- points in general

BLOBS = [  # n_samples, n_features, n_clusters; 17 features and more are not unrolled
    (50, 1, 1),
    (211, 1, 5),
    (1000, 2, 3),
    (3001, 3, 8),
    (3000, 3, 64),
    (2000, 5, 16),
    (1500, 13, 7),
    (1499, 16, 12),
    (1501, 17, 10),
    (2000, 20, 64),
]

WEIGHTS = {
    "unweighted": lambda rng, n: None,
    "floats": lambda rng, n: rng.random(n),
    "floats and zeros": lambda rng, n: rng.random(n) * (rng.random(n) > 0.3),
    "integers": lambda rng, n: rng.integers(1, 6, n),
    "integers and zeros": lambda rng, n: rng.integers(0, 4, n),
}


def blobs(n_samples, n_features, n_clusters, seed=0):
    """Blobs that overlap, so that iterations are many, and a start within them."""
    X, _ = make_blobs(
        n_samples, n_features, centers=max(n_clusters, 3), cluster_std=3.0, random_state=seed
    )
    return X, start_at(X, n_clusters, seed)


@pytest.mark.parametrize("tol", TOLERANCES)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("n", "d", "k"), BLOBS)
def test_blobs_from_given_centres(n, d, k, weights, tol):
    X, start = blobs(n, d, k)
    sample_weight = WEIGHTS[weights](np.random.default_rng(n), n)
    arguments = {"init": start, "tol": tol, "sample_weight": sample_weight}
    assert_same_fit(ours(X, k, **arguments), theirs(X, k, **arguments))


@pytest.mark.parametrize("offset", [0, 1e4, -1e6])
def test_far_from_the_origin(offset):
    X, start = blobs(2000, 3, 8)
    fit = ours(X + offset, 8, init=start + offset)
    expected = theirs(X + offset, 8, init=start + offset)
    np.testing.assert_array_equal(fit.labels_, expected.labels_)
    assert fit.n_iter_ == expected.n_iter_
    assert_close_centers(fit.cluster_centers_, expected.cluster_centers_)


@pytest.mark.parametrize("max_iter", [1, 2, 3, 7])
def test_stopping_at_max_iter(max_iter):
    """The state after as many iterations is the same; and it is said."""
    X, start = blobs(3001, 3, 8)
    expected = theirs(X, 8, init=start, max_iter=max_iter)
    assert expected.n_iter_ == max_iter
    message = f"max_iter={max_iter} before it converged"
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match=message):
        assert_same_fit(ours(X, 8, init=start, max_iter=max_iter), expected)
    with pytest.warns(fastseg.ConvergenceWarning, match=message):
        segmentation = fastseg.segment(X[None], 8, init=start, max_iter=max_iter)
    assert not segmentation.converged
    assert segmentation.n_iter == max_iter
    with pytest.warns(fastseg.ConvergenceWarning, match=message):
        *_, n_iter = fastseg.k_means(X, 8, init=start, max_iter=max_iter, return_n_iter=True)
    assert n_iter == max_iter


@pytest.mark.parametrize("tol", TOLERANCES)
def test_a_run_that_needs_all_of_max_iter_has_converged(tol):
    X, start = blobs(1000, 2, 3)
    expected = theirs(X, 3, init=start, tol=tol)
    assert_same_fit(ours(X, 3, init=start, tol=tol, max_iter=expected.n_iter_), expected)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match="before it converged"):
        ours(X, 3, init=start, tol=tol, max_iter=expected.n_iter_ - 1)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-3, 1e-5])
def test_tol_is_relative_to_the_unweighted_variance(tol, weighted):
    X, start = blobs(3001, 3, 8)
    # Weights that leave almost nothing of the variance.
    sample_weight = np.exp(-np.sum((X - X[0]) ** 2, axis=1) / 20) if weighted else None
    arguments = {"init": start, "tol": tol, "sample_weight": sample_weight}
    assert_same_fit(ours(X, 8, **arguments), theirs(X, 8, **arguments))


# ------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(("name", "k"), [("china.jpg", 4), ("flower.jpg", 16)])
def test_photographs(name, k):
    photograph = load_sample_image(name)
    pixels = photograph.reshape(-1, 3)
    start = start_at(pixels, k, seed=k)
    assert_tie_free(pixels, start)
    for tol in TOLERANCES:
        expected = theirs(pixels, k, init=start, tol=tol)
        assert_same_segmentation(fastseg.segment(photograph, k, init=start, tol=tol), expected)
        assert_same_fit(ours(pixels, k, init=start, tol=tol), expected)
        assert_same_fit(ours(pixels.astype(np.float64), k, init=start, tol=tol), expected)


def grey_image(dtype, shape=(120, 91)):
    """Smooth shapes with noise; as float32 few distinct values, as an MRI scaled to 0..1 has."""
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    noise = np.random.default_rng(0).normal(0, 0.2, shape)
    image = np.sin(x / 9) + np.cos(y / 13) * x / 60 + noise
    image = (image - image.min()) / np.ptp(image)
    scale, offset = {
        "uint8": (255, 0),
        "uint16": (60_000, 3_000),
        "int16": (4_000, -1_500),
        "float32": (117, 0),
    }[dtype]
    levels = np.round(image * scale + offset)
    return (levels / scale if dtype == "float32" else levels).astype(dtype)


@pytest.mark.parametrize("k", [1, 2, 5, 16])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_grey_images(dtype, k):
    image = grey_image(dtype)
    pixels = image.reshape(-1, 1)
    start = start_at(pixels, k, seed=k)
    assert_tie_free(pixels, start)
    for tol in TOLERANCES:
        expected = theirs(pixels, k, init=start, tol=tol)
        assert_same_segmentation(fastseg.segment(image, k, init=start, tol=tol), expected)
        assert_same_fit(ours(pixels.astype(np.float64), k, init=start, tol=tol), expected)
        centers, labels, inertia, n_iter = fastseg.k_means(
            pixels, k, init=start, tol=tol, return_n_iter=True
        )
        np.testing.assert_array_equal(labels, expected.labels_)
        assert n_iter == expected.n_iter_
        assert_close_centers(centers, expected.cluster_centers_)
        np.testing.assert_allclose(inertia, expected.inertia_, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_grey_images_as_points_of_their_own_type(dtype):
    pixels = grey_image(dtype).reshape(-1, 1)
    start = start_at(pixels, 5, seed=5)
    assert_same_fit(ours(pixels, 5, init=start), theirs(pixels, 5, init=start))


def test_a_volume():
    volume = grey_image("float32", (9, 40, 33))
    start = start_at(volume.reshape(-1, 1), 4, seed=0)
    expected = theirs(volume.reshape(-1, 1), 4, init=start)
    segmentation = fastseg.segment(volume, 4, init=start)
    assert segmentation.labels.shape == volume.shape
    assert_same_segmentation(segmentation, expected)


@pytest.mark.parametrize(
    ("dtype", "channels"),
    [("uint8", 2), ("uint16", 3), ("int16", 4), ("uint8", 12), ("float32", 3), ("float64", 5)],
)
def test_images_of_other_types_and_numbers_of_channels(dtype, channels):
    """Pixels of up to 64 bits are counted if they repeat; others are taken as they are."""
    rng = np.random.default_rng(channels)
    image = rng.gamma(2.0, 20.0, (50, 61, channels)).clip(0, 255)
    image = image.astype(dtype) * np.dtype(dtype).type(100 if dtype.endswith("int16") else 1)
    image[10:40] = image[5:35]
    pixels = image.reshape(-1, channels)
    start = start_at(pixels, 6, seed=0)
    assert_tie_free(pixels, start)
    expected = theirs(pixels, 6, init=start)
    assert_same_segmentation(fastseg.segment(image, 6, init=start), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_centres_of_integers_are_exact(dtype):
    """Each is the mean of its pixels, correctly rounded, which scikit-learn's need not be."""
    image = grey_image(dtype)
    segmentation = fastseg.segment(image, 5, init=start_at(image.reshape(-1, 1), 5, 0), tol=0)
    for label, center in enumerate(segmentation.centers[:, 0]):
        members = image[segmentation.labels == label]
        assert center == float(Fraction(int(members.sum(dtype=np.int64)), members.size))


# ------------------------------------------------------------------- empty clusters


def far_start(X, n_near, n_far, seed):
    """Centres within the points and others that no point is nearest to, shuffled."""
    rng = np.random.default_rng(seed)
    near = start_at(X, n_near, seed)
    far = X.max() + np.ptp(X) * (5 + rng.random((n_far, X.shape[1])))
    return rng.permutation(np.concatenate([near, far]))


def matched(fit, expected):
    """Index of the equal centre of ours for each of scikit-learn's."""
    distances = reference.distances(expected.cluster_centers_, fit.cluster_centers_)
    partners = distances.argmin(axis=1)
    assert len(set(partners)) == len(partners)
    return partners


def assert_same_fit_but_for_the_names(fit, expected):
    """The same up to the order of the centres.

    scikit-learn deals the farthest points to three or more empty clusters in the order
    in which `numpy.argpartition` leaves them, which depends on the processor. Of one or
    two, it is farthest first, as ours always is.
    """
    partners = matched(fit, expected)
    np.testing.assert_array_equal(fit.labels_, partners[expected.labels_])
    assert fit.n_iter_ == expected.n_iter_
    assert_close_centers(fit.cluster_centers_[partners], expected.cluster_centers_)
    np.testing.assert_allclose(fit.inertia_, expected.inertia_, rtol=1e-9)


def assert_same_relocations(fit, expected, n_far):
    (assert_same_fit if n_far <= 2 else assert_same_fit_but_for_the_names)(fit, expected)


@pytest.mark.parametrize("n_far", [1, 2, 3, 6])
@pytest.mark.parametrize("weights", ["unweighted", "floats", "integers"])
@pytest.mark.parametrize("n", [30, 200, 3000])
def test_empty_clusters_take_the_farthest_points(n, weights, n_far):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.normal(0, 3, (n, 3))
        arguments = {
            "init": far_start(X, 3, n_far, seed),
            "sample_weight": WEIGHTS[weights](rng, n),
        }
        fit, expected = ours(X, 3 + n_far, **arguments), theirs(X, 3 + n_far, **arguments)
        assert_same_relocations(fit, expected, n_far)


@pytest.mark.parametrize("n_far", [1, 2, 3])
@pytest.mark.parametrize("weights", ["unweighted", "floats"])
def test_empty_clusters_with_tol_0(weights, n_far):
    # Enough points that all clusters still move after the relocation. Were it the last
    # change, the shift would be zero or a rounding error, and with it the stop.
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = rng.normal(0, 3, (1000, 2))
        arguments = {
            "init": far_start(X, 4, n_far, seed),
            "sample_weight": WEIGHTS[weights](rng, len(X)),
            "tol": 0,
        }
        fit, expected = ours(X, 4 + n_far, **arguments), theirs(X, 4 + n_far, **arguments)
        assert_same_relocations(fit, expected, n_far)


@pytest.mark.parametrize("n_far", [1, 2, 3])
@pytest.mark.parametrize("n", [30, 200, 1000])
def test_empty_clusters_among_points_of_which_some_weigh_nothing(n, n_far):
    """Those that the empty clusters take do weigh something."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.normal(0, 3, (n, 3))
        start = far_start(X, 3, n_far, seed)
        sample_weight = rng.random(n) * (rng.random(n) > 0.3)
        farthest = np.argsort(reference.assign(X, start)[1])[-n_far:]
        sample_weight[farthest] = 0.1 + rng.random(n_far)
        arguments = {"init": start, "sample_weight": sample_weight}
        fit, expected = ours(X, 3 + n_far, **arguments), theirs(X, 3 + n_far, **arguments)
        assert_same_relocations(fit, expected, n_far)


@pytest.mark.parametrize(
    ("x", "sample_weight", "start"),
    [
        (
            [72.57, 22.47, 83.33, 41.95, 32.07, 48.85, 5.6, 43.72, 51.8],
            [2, 1, 2, 0, 2, 0, 1, 2, 1],
            [72.67, 22.67, 500],
        ),
        (
            [90.06, 10.26, 26.41, 62.09, 26.33, 98.3, 60.68, 49.76, 60.04],
            [1, 2, 0, 1, 1, 1, 2, 0, 2],
            [90.16, 10.46, 500],
        ),
        (
            [76.58, 64.56, 29.01, 74.65, 21.31, 93.47, 95.52, 12.9, 68.84],
            [1, 0, 1, 2, 1, 1, 1, 2, 2],
            [76.68, 64.76, 500],
        ),
    ],
)
def test_a_point_without_weight_that_changes_its_cluster_is_a_change(x, sample_weight, start):
    """It leaves all sums as they were, and yet the farthest points are others."""
    X, start = np.array(x)[:, None], np.array(start, dtype=float)[:, None]
    arguments = {"init": start, "sample_weight": sample_weight}
    assert_same_fit(ours(X, 3, **arguments), theirs(X, 3, **arguments))


def test_a_cluster_that_took_a_weightless_point_stands_at_the_heaviest_cluster():
    """As scikit-learn says of its own, whose code takes the cluster's sum in place of
    its mean where the heaviest cluster comes later."""
    X = np.array([[0.0], [1.0], [2.0], [10.0], [12.0], [40.0]])
    sample_weight = [1, 1, 1, 1, 4, 0]
    options = {"sample_weight": sample_weight, "max_iter": 1}
    with pytest.warns(fastseg.ConvergenceWarning):
        later, *_ = fastseg.k_means(X, 3, init=[[0.9], [11.1], [900.0]], **options)
    np.testing.assert_allclose(later, [[1.0], [11.6], [11.6]], rtol=1e-15)
    with pytest.warns(fastseg.ConvergenceWarning):
        earlier, *_ = fastseg.k_means(X, 3, init=[[900.0], [0.9], [11.1]], **options)
    np.testing.assert_allclose(earlier, [[11.6], [1.0], [11.6]], rtol=1e-15)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match="distinct clusters"):
        expected = theirs(X, 3, init=[[0.9], [11.1], [900.0]], **options)
    assert_close_centers(later, expected.cluster_centers_)


@pytest.mark.parametrize("n_far", [1, 2, 3, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_empty_cluster_of_an_image_takes_one_pixel_and_not_a_whole_colour(channels, n_far):
    """scikit-learn sees every pixel; `segment` sees each colour once, with its count."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        # A few dozen colours, each many times, also the farthest.
        colours = rng.integers(0, 256, (40, channels))
        pixels = colours[rng.integers(0, 40, 42 * 37)].astype(np.uint8)
        image = pixels.reshape(42, 37) if channels == 1 else pixels.reshape(42, 37, channels)
        start = far_start(pixels.astype(np.float64), 4, n_far, seed)
        expected = theirs(pixels, 4 + n_far, init=start)
        segmentation = fastseg.segment(image, 4 + n_far, init=start)
        # In ascending luminance the clusters' names do not depend on who took which.
        assert_same_segmentation(segmentation, expected)
        assert_same_relocations(ours(pixels, 4 + n_far, init=start), expected, n_far)


def test_what_is_left_of_a_colour_stays_where_it_was():
    image = np.array([[10, 10, 10, 20, 20], [20, 90, 90, 90, 90]], dtype=np.uint8)
    with pytest.warns(fastseg.ConvergenceWarning):
        segmentation = fastseg.segment(image, 2, init=[[12.0], [900.0]], max_iter=1)
    mean_of_the_rest = (3 * 10 + 3 * 20 + 3 * 90) / 9
    np.testing.assert_array_equal(segmentation.init_centers, [[12.0], [900.0]])
    np.testing.assert_allclose(segmentation.centers, [[mean_of_the_rest], [90.0]], rtol=1e-15)


# ----------------------------------------------------------------- seeds and restarts

SEEDED = [(100, 1, 4), (500, 2, 5), (1500, 3, 8), (800, 7, 20), (400, 20, 12)]


@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("n", "d", "k"), SEEDED)
def test_a_seed_draws_the_start_that_scikit_learn_draws(n, d, k, weights, init, n_init):
    for seed in range(3):
        X, _ = blobs(n, d, k, seed)
        sample_weight = WEIGHTS[weights](np.random.default_rng(seed), n)
        arguments = {"init": init, "n_init": n_init, "sample_weight": sample_weight}
        fit = ours(X, k, random_state=seed, **arguments)
        assert_same_fit(fit, theirs(X, k, random_state=seed, **arguments))


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_as_much_is_drawn_from_a_given_generator(init):
    X, _ = blobs(500, 2, 5)
    left, right = np.random.RandomState(7), np.random.RandomState(7)
    assert_same_fit(
        ours(X, 5, init=init, n_init=2, random_state=left),
        theirs(X, 5, init=init, n_init=2, random_state=right),
    )
    assert left.random() == right.random()


@pytest.mark.parametrize("tol", [1e-4, 1e-2])
def test_a_run_that_finds_the_same_clusters_again_does_not_replace_the_first(tol):
    """Even where it stopped a little closer to their means, and its inertia is less."""
    for seed in range(40):
        X, _ = blobs(60, 2, 3, seed)
        arguments = {"init": "random", "n_init": 10, "tol": tol, "random_state": seed}
        assert_same_fit(ours(X, 3, **arguments), theirs(X, 3, **arguments))


def test_a_callable_start():
    def first_points(X, n_clusters, random_state):
        return X[random_state.permutation(len(X))[:n_clusters]]

    X, _ = blobs(500, 2, 5)
    arguments = {"init": first_points, "n_init": 3, "random_state": 3}
    assert_same_fit(ours(X, 5, **arguments), theirs(X, 5, **arguments))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("init", ["k-means++", "random", "given"])
def test_k_means_is_the_estimator_as_a_function(init, weighted, dtype):
    rng = np.random.default_rng(0)
    X = rng.gamma(2.0, 20.0, (2000, 3)).clip(0, 255).astype(dtype)
    arguments = {"sample_weight": rng.random(2000) if weighted else None}
    options = {"init": start_at(X, 6, 0) if init == "given" else init, "random_state": 4}
    centers, labels, inertia, n_iter = fastseg.k_means(
        X, 6, return_n_iter=True, **arguments, **options
    )
    fit = fastseg.KMeans(6, **options).fit(X, **arguments)
    np.testing.assert_array_equal(centers, fit.cluster_centers_)
    np.testing.assert_array_equal(labels, fit.labels_)
    assert (inertia, n_iter) == (fit.inertia_, fit.n_iter_)
    assert len(fastseg.k_means(X, 6, **arguments, **options)) == 3


# -------------------------------------------------------------------------- float32

ENTRY_POINTS = {
    "KMeans": lambda X, k, start: fastseg.KMeans(k, init=start).fit(X).labels_,
    "k_means": lambda X, k, start: fastseg.k_means(X, k, init=start)[1],
    "segment": lambda X, k, start: fastseg.segment(X[None], k, init=start, channel_axis=-1).labels,
}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("offset", [1e4, 1e5])
@pytest.mark.parametrize("d", [1, 3, 20])
def test_float32_far_from_zero_is_labelled_as_float64(d, offset, entry_point):
    """Values of spread 100: the square of the offset has no bits left for them in float32."""
    rng = np.random.default_rng(d)
    X = (offset + rng.uniform(-50, 50, (20_000, d))).astype(np.float32)
    start = X[:8] + rng.normal(0, 0.1, (8, d))
    fit = ENTRY_POINTS[entry_point]
    labels = fit(X, 8, start)
    np.testing.assert_array_equal(labels, fit(X.astype(np.float64), 8, start))
    if entry_point != "segment":
        np.testing.assert_array_equal(labels, theirs(X, 8, init=start).labels_)


# -------------------------------------------------------------------------- threads

MANY_CHUNKS = [  # n_features, n_clusters, start
    (2, 6, "k-means++"),
    (2, 6, "given"),
    (2, 6, "far"),
    (20, 256, "given"),
    (20, 256, "far"),
]


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
@pytest.mark.parametrize(("d", "k", "start"), MANY_CHUNKS)
def test_same_bytes_for_any_number_of_threads(d, k, start, dtype):
    n = 5 * chunk_size(d, k) + 777
    if start == "k-means++":
        # Its draws go through chunks of their own size.
        assert n > 5 * chunk_size(d, 1)
    rng = np.random.default_rng(d)
    X = rng.integers(0, 256, (n, d)).astype(dtype)
    if dtype == "float64":
        X += rng.random((n, d))
    sample_weight = rng.random(n) if k == 256 else None
    init = {
        "k-means++": lambda: "k-means++",
        "given": lambda: X[:k] + 0.01 * rng.random((k, d)),
        "far": lambda: far_start(X[:1000].astype(np.float64), k - 2, 2, 0),
    }[start]()

    def run(n_threads):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastseg.ConvergenceWarning)
            centers, labels, inertia = fastseg.k_means(
                X, k, sample_weight=sample_weight, init=init, max_iter=3, random_state=1,
                n_threads=n_threads,
            )  # fmt: skip
        return centers.tobytes(), labels.tobytes(), inertia

    alone = run(1)
    for n_threads in (2, 3, 8):
        assert run(n_threads) == alone


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
def test_same_segmentation_for_any_number_of_threads(dtype):
    n = 5 * chunk_size(2, 4) + 777
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, n, 2)).astype(dtype)
    if dtype == "float64":
        image += rng.random(image.shape)
    results = [
        fastseg.segment(image, 4, init=start_at(image[0, :99], 4, 0), tol=0.1, n_threads=n_threads)
        for n_threads in (1, 2, 3, 8)
    ]
    alone = results[0]
    for other in results[1:]:
        assert other.labels.tobytes() == alone.labels.tobytes()
        assert other.centers.tobytes() == alone.centers.tobytes()
        assert other.inertia == alone.inertia


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_random_starts_are_drawn_as_numpy_draws_them(seed, weighted):
    n, size = 40, 5 * seed + 1
    weights = np.random.default_rng(seed).random(n) if weighted else None
    p = np.full(n, 1 / n) if weights is None else weights / weights.sum()
    values = np.arange(n, dtype=np.float64)[:, None]
    expected = np.random.RandomState(seed).choice(n, size, replace=False, p=p)
    drawn = random_points(values, weights, size, np.random.RandomState(seed))
    np.testing.assert_array_equal(drawn[:, 0], expected)
