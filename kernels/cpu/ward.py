"""Kernels of Ward's tree: the pairs of clusters whose merging adds least to the inertia.

Merging clusters of weights v, w and sums of values s, t adds (s w - t v)**2 / (v w (v + w)),
summed over the channels. On one channel the best pair is one of neighbours, and a
tournament among them finds it. On several, the nearest-neighbour chain (Murtagh 1983)
follows each cluster to the one it is cheapest to merge with, until two are that for
each other.

Of pairs that are tied the brighter one goes first: the one whose brighter cluster is
brighter, then the one whose darker cluster is. Under this order the chain makes the
same merges as taking the best pair of all would. Costs are in double-double arithmetic
(Dekker 1971): of whole numbers the difference above is exact, so that costs are right to
some 30 digits and ties are those that agree to 24. The order of operations matters, so
they must not be contracted or reassociated.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .double_double import add, two_product

TIE = 2.0**-80  # relative difference below which costs are equal
LIGHT = 2.0**40  # steps of luminance, of coordinates that are at most 1
LANES = 64  # running minima, so that the search for the nearest vectorises
FAR = 1e150  # coordinate of no cluster: nobody's neighbour


@njit(nogil=True, error_model="numpy")
def cost(
    sums,  # IN (2, d, m) float64: weighted sums of the clusters' values, their low parts
    weights,  # IN (m,) float64
    i,
    j,
):
    """What merging two clusters adds to the inertia, in double-double."""
    v, w = weights[i], weights[j]
    total, total_low = 0.0, 0.0
    for f in range(sums.shape[1]):
        p, p_low = two_product(sums[0, f, i], w)
        q, q_low = two_product(sums[0, f, j], v)
        x, x_low = add(p, p_low + sums[1, f, i] * w, -q, -(q_low + sums[1, f, j] * v))
        p, p_low = two_product(x, x)
        total, total_low = add(total, total_low, p, p_low + 2.0 * x * x_low)
    p, p_low = two_product(v, w)
    below, below_low = two_product(p, v + w)
    below_low += p_low * (v + w)
    ratio = total / below
    x, x_low = two_product(ratio, below)
    return add(ratio, ((((total - x) - x_low) + total_low) - ratio * below_low) / below, 0.0, 0.0)


@njit(nogil=True)
def at_most(a, a_low, b, b_low):
    """Whether a cost is below another or tied with it."""
    return (a - b) + (a_low - b_low) <= TIE * b


@njit(nogil=True)
def merge(
    sums,  # INOUT (2, d, m) float64
    weights,  # INOUT (m,) float64
    i,  # this cluster takes in
    j,  # that one
):
    """Add a cluster to another."""
    for f in range(sums.shape[1]):
        sums[0, f, i], sums[1, f, i] = add(
            sums[0, f, i], sums[1, f, i], sums[0, f, j], sums[1, f, j]
        )
    weights[i] += weights[j]


# One channel: a tournament of neighbours


@njit(nogil=True)
def match(costs, winners, node):
    """Winner of the two nodes below: the cheaper pair, of tied ones the brighter, to the right."""
    size, m = len(winners), costs.shape[1]
    left, right = 2 * node, 2 * node + 1
    a = winners[left] if left < size else left - size
    b = winners[right] if right < size else right - size
    if b < m and at_most(costs[0, b], costs[1, b], costs[0, a], costs[1, a]):
        return b
    return a


@njit(nogil=True)
def play(
    costs,  # IN (2, m) float64, of merging a cluster with the next, infinite where there is none
    winners,  # INOUT (size,) int64, of the matches; size is a power of two and at least m
    i,  # cluster whose cost has changed
):
    """Play the matches anew that a cluster has a part in."""
    node = (len(winners) + i) // 2
    while node > 0:
        winner = match(costs, winners, node)
        if winner == winners[node] and winner != i:
            break
        winners[node] = winner
        node //= 2


@njit(nogil=True)
def pair_up(
    sums,  # IN (2, 1, m) float64
    weights,  # IN (m,) float64
    following,  # IN (m,) int64, the next cluster, m behind the last
    i,
    costs,  # OUT (2, m) float64
):
    """Cost of merging a cluster with the next."""
    if following[i] < len(weights):
        costs[0, i], costs[1, i] = cost(sums, weights, i, following[i])
    else:
        costs[0, i], costs[1, i] = np.inf, 0.0


def start_tournament(
    sums,  # IN (2, 1, m) float64
    weights,  # IN (m,) float64
    following,  # IN (m,) int64
    costs,  # OUT (2, m) float64
    winners,  # OUT (size,) int64
):
    """Cost of all neighbours, and the winners of all matches."""
    for i in range(len(weights)):
        pair_up(sums, weights, following, i, costs)
    for node in range(len(winners) - 1, 0, -1):
        winners[node] = match(costs, winners, node)


def merge_neighbours(
    first,  # merges from here
    last,  # to before here
    sums,  # INOUT (2, 1, m) float64
    weights,  # INOUT (m,) float64
    following,  # INOUT (m,) int64, the next cluster
    before,  # INOUT (m,) int64, the cluster before
    nodes,  # INOUT (m,) int64, the clusters' places in the tree
    costs,  # INOUT (2, m) float64
    winners,  # INOUT (size,) int64
    merged,  # OUT (m - 1, 2) int64, the two nodes of each merge
    heights,  # OUT (2, m - 1) float64, the costs of the merges
):
    """Merge the cheapest neighbours again and again."""
    m = len(weights)
    for step in range(first, last):
        i = winners[1]
        j = following[i]
        merged[step, 0], merged[step, 1] = min(nodes[i], nodes[j]), max(nodes[i], nodes[j])
        heights[0, step], heights[1, step] = costs[0, i], costs[1, i]
        merge(sums, weights, i, j)
        nodes[i] = m + step
        following[i] = following[j]
        if following[i] < m:
            before[following[i]] = i
        costs[0, j], costs[1, j] = np.inf, 0.0
        pair_up(sums, weights, following, i, costs)
        if i > 0:
            pair_up(sums, weights, following, before[i], costs)
            play(costs, winners, before[i])
        play(costs, winners, j)
        play(costs, winners, i)


# Several channels: the nearest-neighbour chain


@njit(nogil=True)
def place(
    sums,  # IN (2, d, m) float64
    weights,  # IN (m,) float64
    luminance,  # IN (d,) float64, weights of the channels
    i,
    centers,  # OUT (d + 2, size) float64: means of the clusters, their weights, their luminance
):
    """Write down a cluster for the search."""
    d = len(luminance)
    light = 0.0
    for f in range(d):
        centers[f, i] = sums[0, f, i] / weights[i]
        light += luminance[f] * centers[f, i]
    # Rounded, so that luminances are equal whatever the order of the channels in their sum.
    centers[d, i], centers[d + 1, i] = weights[i], np.rint(light * LIGHT) / LIGHT


@njit(nogil=True)
def brighter(centers, nodes, i, j):
    """Whether a cluster is brighter than another, of equal ones the higher in its channels."""
    d = centers.shape[0] - 2
    if centers[d + 1, i] != centers[d + 1, j]:
        return centers[d + 1, i] > centers[d + 1, j]
    for f in range(d):
        if centers[f, i] != centers[f, j]:
            return centers[f, i] > centers[f, j]
    return nodes[i] < nodes[j]


@njit(nogil=True, error_model="numpy")
def nearest(
    sums,  # IN (2, d, m) float64
    weights,  # IN (m,) float64
    centers,  # IN (d + 2, size) float64, size a multiple of LANES
    nodes,  # IN (m,) int64
    n_clusters,
    i,
    costs,  # SCRATCH (size,) float64
    lanes,  # SCRATCH (LANES,) float64
):
    """The cluster that is cheapest to merge with, of tied ones the brightest."""
    d = centers.shape[0] - 2
    w = weights[i]
    n = -(-n_clusters // LANES) * LANES
    costs[:n] = 0.0
    for f in range(d):
        x = centers[f, i]
        channel = centers[f, :n]
        for j in range(n):
            costs[j] += (channel[j] - x) * (channel[j] - x)
    others = centers[d, :n]
    for j in range(n):
        costs[j] *= w * others[j] / (w + others[j])
    costs[i] = np.inf
    lanes[:] = np.inf
    for start in range(0, n, LANES):
        block = costs[start : start + LANES]
        for t in range(LANES):
            lanes[t] = block[t] if block[t] < lanes[t] else lanes[t]
    # Coordinates are at most 1, and their differences right to a few units of 2**-53: whatever
    # may be nearest is looked at again.
    bound = (np.sqrt(lanes.min()) + 2.0**-46 * np.sqrt(d * w)) ** 2 * (1.0 + 2.0**-40)
    best, high, low = -1, np.inf, 0.0
    for t in range(LANES):
        if lanes[t] > bound:
            continue
        for j in range(t, n_clusters, LANES):
            if costs[j] > bound:
                continue
            a, a_low = cost(sums, weights, i, j)
            if best >= 0 and not at_most(a, a_low, high, low):
                continue
            tied = best >= 0 and at_most(high, low, a, a_low)
            if not tied or brighter(centers, nodes, j, best):
                best, high, low = j, a, a_low
    return best, high, low


def follow_chain(
    n_searches,  # before this call returns
    sums,  # INOUT (2, d, m) float64
    weights,  # INOUT (m,) float64
    luminance,  # IN (d,) float64
    centers,  # INOUT (d + 2, size) float64
    nodes,  # INOUT (m,) int64, the clusters' places in the tree
    chain,  # INOUT (m + 1,) int64, clusters that are each the nearest of the one before
    state,  # INOUT (2,) int64: clusters left, length of the chain
    merged,  # OUT (m - 1, 2) int64, the two nodes of each merge
    heights,  # OUT (2 d + 4, m - 1) float64: costs, low parts, the brighter cluster, the darker
):
    """Merge clusters that are each other's nearest, in whatever order the chain meets them."""
    m, d = len(weights), len(luminance)
    costs, lanes = np.empty(centers.shape[1]), np.empty(LANES)
    n, length = state[0], state[1]
    for _ in range(n_searches):
        if n == 1:
            break
        if length == 0:
            chain[0], length = 0, 1
        i = chain[length - 1]
        j, high, low = nearest(sums, weights, centers, nodes, n, i, costs, lanes)
        if length == 1 or chain[length - 2] != j:
            chain[length] = j
            length += 1
            continue
        length -= 2
        step = m - n
        merged[step, 0], merged[step, 1] = min(nodes[i], nodes[j]), max(nodes[i], nodes[j])
        heights[0, step], heights[1, step] = high, low
        bright, dark = (i, j) if brighter(centers, nodes, i, j) else (j, i)
        heights[2, step], heights[d + 3, step] = centers[d + 1, bright], centers[d + 1, dark]
        for f in range(d):  # slices would take seconds more to compile
            heights[f + 3, step], heights[f + d + 4, step] = centers[f, bright], centers[f, dark]
        i, j = min(i, j), max(i, j)
        merge(sums, weights, i, j)
        nodes[i] = m + step
        place(sums, weights, luminance, i, centers)
        # The last cluster moves to the place that is free now.
        n -= 1
        weights[j], nodes[j] = weights[n], nodes[n]
        for f in range(d + 2):
            centers[f, j] = centers[f, n]
        for f in range(d):
            sums[0, f, j], sums[1, f, j] = sums[0, f, n], sums[1, f, n]
            centers[f, n] = FAR
        for t in range(length):
            if chain[t] == n:
                chain[t] = j
    state[0], state[1] = n, length


def count_leaves(
    merged,  # IN (m - 1, 2) int64, the two nodes of each merge
    leaves,  # OUT (m - 1,) float64, how many leaves are below it
):
    """Count the leaves below each merge."""
    m = len(merged) + 1
    for step in range(m - 1):
        i, j = merged[step, 0], merged[step, 1]
        leaves[step] = 1.0 if i < m else leaves[i - m]
        leaves[step] += 1.0 if j < m else leaves[j - m]
