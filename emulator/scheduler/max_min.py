"""Max-min fair time shares over GPUs of several types, as a linear program, and the simplex method that solves it."""

import numpy as np
from numpy.typing import NDArray

from emulator.draws.sums import add_along, add_up

Float64 = NDArray[np.float64]

#: Below this a number of the tableau counts as 0.
_ZERO = 1e-9


def max_min_shares(throughput: Float64, gpus: Float64, jobs: Float64, capacity: Float64, weight: Float64) -> Float64:
    """The part of its time that each job of a class is to have on each type, shape (classes, types).

    ``throughput`` (classes, types) is what a job of the class does on each type, 0 where it may not run; ``gpus``, ``jobs`` and ``weight``
    (classes,) are its size, how many such jobs there are, and their weight; ``capacity`` (types,) are the GPUs of each type. The smallest
    ``throughput . share / (weight x equal)`` is as large as possible, ``equal`` being what a job does with an equal share of all types
    (Narayanan et al., "Heterogeneity-Aware Cluster Scheduling Policies for Deep Learning Workloads", OSDI 2020, sections 3.1 and 4.1).
    """
    classes, types = throughput.shape
    all_gpus = add_up(capacity)
    equal = add_along(throughput * (capacity / all_gpus), 1) * min(1.0, all_gpus / add_up(gpus * jobs)) * weight
    # Variables: the shares, row by row, and the smallest ratio t. Rows: t x equal - throughput . share <= 0, the job's time, the GPUs.
    rows = np.zeros((2 * classes + types, classes * types + 1))
    limits = np.zeros(2 * classes + types)
    for row in range(classes):
        mine = slice(row * types, (row + 1) * types)
        rows[row, mine], rows[row, -1] = -throughput[row], equal[row]
        rows[classes + row, mine], limits[classes + row] = 1.0, 1.0
        rows[2 * classes + np.arange(types), row * types + np.arange(types)] = gpus[row] * jobs[row]
    limits[2 * classes :] = capacity
    goal = np.zeros(classes * types + 1)
    goal[-1] = 1.0
    return maximum(rows, limits, goal)[:-1].reshape(classes, types)


def maximum(rows: Float64, limits: Float64, goal: Float64) -> Float64:
    """The x of at least 0 with ``rows . x <= limits`` (all at least 0) at which ``goal . x`` is largest, which must be bounded.

    The simplex method on a tableau (Dantzig 1951), with Bland's rule against circles (Mathematics of Operations Research, 1977): of the
    columns that improve the goal the first enters, and of the rows that limit it the one whose variable has the lowest number leaves.
    """
    count, variables = rows.shape
    table = np.concatenate((rows, np.eye(count), limits[:, None]), axis=1)
    costs = np.concatenate((-goal, np.zeros(count + 1)))
    basis = list(range(variables, variables + count))
    while len(entering := np.flatnonzero(costs[:-1] < -_ZERO)):
        column = int(entering[0])
        rising = np.flatnonzero(table[:, column] > _ZERO)
        ratios = table[rising, -1] / table[rising, column]
        row = min(rising[ratios <= ratios.min() + _ZERO].tolist(), key=basis.__getitem__)
        table[row] /= table[row, column]
        others = np.flatnonzero(np.abs(table[:, column]) > 0.0)
        others = others[others != row]
        table[others] -= table[others, column][:, None] * table[row]
        costs -= costs[column] * table[row]
        basis[row] = column
    found = np.zeros(variables + count)
    found[basis] = np.maximum(table[:, -1], 0.0)
    return found[:variables]
