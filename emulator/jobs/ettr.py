"""How much of a job's time is training: closed forms in the rate of faults, the checkpoint interval and the cost of a restart.

Sources: RSC Kokolis et al., "Revisiting Reliability in Large-Scale Machine Learning Research Clusters", HPCA'25, arXiv 2410.21680;
Young, CACM 17 (1974); Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", FGCS 22 (2006).

All times are in one unit, which the caller chooses. A job's nodes are a series system: the first fault of any of them interrupts it.
"""

from math import inf, sqrt

from emulator.draws.exact import exp


def mttf(nodes: float, faults_per_node: float) -> float:
    """Mean time to the next fault of ``nodes`` nodes with so many faults each in a unit of time: 1 / (N r). Raises ValueError."""
    _check("nodes", nodes)
    _check("faults_per_node", faults_per_node)
    rate = nodes * faults_per_node
    return 1.0 / rate if rate else inf


def expected_ettr(mean_to_failure: float, interval: float, restart: float, write: float = 0.0) -> float:
    """E[ETTR] = (1 - (u + dt / 2) / M) / (1 + w / dt) of RSC: its share of time that trains, for small losses; never below 0.

    ``interval`` dt is the training between two checkpoints, ``write`` w how long one blocks, ``restart`` u what passes from a fault to
    training again, with the wait in the queue where the job goes back to it. Raises ValueError.
    """
    _check("mean_to_failure", mean_to_failure)
    _check("restart", restart)
    _check("write", write)
    _check_interval(interval)
    lost = (restart + interval / 2) / mean_to_failure if mean_to_failure else inf
    return max(0.0, 1.0 - lost) / (1.0 + write / interval)


def daly_ettr(mean_to_failure: float, interval: float, restart: float, write: float = 0.0) -> float:
    """The same without the assumption of small losses: T_useful / T with T = M e^(R/M) (e^((dt + w) / M) - 1) T_useful / dt (Daly).

    Faults come as a Poisson process, during restarts and checkpoints too. Above some 30,000 GPUs it is the one to use. Raises ValueError.
    """
    _check("mean_to_failure", mean_to_failure)
    _check("restart", restart)
    _check("write", write)
    _check_interval(interval)
    if mean_to_failure == inf:
        return interval / (interval + write)
    if not mean_to_failure:
        return 0.0
    exponent = (interval + write) / mean_to_failure
    if restart / mean_to_failure + exponent > _FAR:
        return 0.0
    grown = float(exp(exponent)) - 1.0 if exponent > _NEAR else exponent * (1.0 + exponent / 2.0)
    return interval / (mean_to_failure * float(exp(restart / mean_to_failure)) * grown)


def young_interval(mean_to_failure: float, write: float) -> float:
    """Young's interval between checkpoints, sqrt(2 w M). Raises ValueError."""
    _check("mean_to_failure", mean_to_failure)
    _check("write", write)
    return sqrt(2.0 * write * mean_to_failure)


def daly_interval(mean_to_failure: float, write: float) -> float:
    """Daly's: sqrt(2 w M) (1 + sqrt(w / 2M) / 3 + w / 18M) - w where w < 2M, else M. Raises ValueError."""
    _check("mean_to_failure", mean_to_failure)
    _check("write", write)
    if write >= 2.0 * mean_to_failure:
        return mean_to_failure
    share = write / (2.0 * mean_to_failure)
    return young_interval(mean_to_failure, write) * (1.0 + sqrt(share) / 3.0 + share / 9.0) - write


#: Beyond e^700 nothing is left of the time; below this an exponential less 1 would lose digits.
_FAR, _NEAR = 700.0, 1e-6


def _check(name: str, value: float) -> None:
    if not value >= 0.0:
        raise ValueError(f"{name} is {value}; allowed: 0 or more")


def _check_interval(interval: float) -> None:
    if not 0.0 < interval < inf:
        raise ValueError(f"interval is {interval}; allowed: more than 0")
