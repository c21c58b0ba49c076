"""Elementary functions from +, -, *, / and integers alone: the same bits on every processor, in every version of Python and numpy.

IEEE 754 rounds those four (and the square root) exactly. ``np.log``, ``np.exp`` and the others come from the vector library that numpy
chooses by what the processor has, and ``math``'s from the C library: a drawn fault time 2**54 ns away would move by nanoseconds between
two machines of one Ray cluster. Every step is a numpy operation of its own, so no compiler can fuse a multiplication with an addition.

The error bounds are in units in the last place (ulp) of the result; the tests hold them against mpmath.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]

#: Long arrays are worked on in pieces of this size, which stay in the cache.
_PIECE = 16_384

# fdlibm (Sun Microsystems, 1993). ln 2 in two parts, of which the first has 32 bits: its product with an exponent is exact.
_LN2_HIGH, _LN2_LOW, _LN2 = 6.93147180369123816490e-01, 1.90821492927058770002e-10, 0.6931471805599453
# e_log.c: the Remez polynomial of log((1 + s) / (1 - s)), from the constant term up.
_LOG = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
# e_exp.c: r (exp(r) + 1) / (exp(r) - 1) = 2 + P1 r**2 + P2 r**4 + ..., for |r| <= 0.5 ln 2.
_EXP = (
    1.66666666666666019037e-01,
    -2.77777777770155933842e-03,
    6.61375632143793436117e-05,
    -1.65339022054652515390e-06,
    4.13813679705723846039e-08,
)
# k_sin.c and k_cos.c, for |angle| <= pi / 4, from the third and fourth power up.
_SIN = (
    -1.66666666666666324348e-01,
    8.33333333332248946124e-03,
    -1.98412698298579493134e-04,
    2.75573137070700676789e-06,
    -2.50507602534068634195e-08,
    1.58969099521155010221e-10,
)
_COS = (
    4.16666666666666019037e-02,
    -1.38888888888741095749e-03,
    2.48015872894767294178e-05,
    -2.75573143513906633035e-07,
    2.08757232129817482790e-09,
    -1.13596475577881948265e-11,
)

_TWO_PI = 6.283185307179586
#: Added to a number below 2**51 it leaves the number's nearest integer in the lowest bits, ties to even.
_ROUND = 1.5 * 2.0**52
_ROUND_BITS = int(np.float64(_ROUND).view(np.int64))
_ROOT_HALF_BITS = int(np.float64(0.7071067811865476).view(np.int64))
_BIAS, _LEAST_NORMAL = 1023, 2.0**-1022


def log(x: ArrayLike) -> Float64:
    """Natural logarithm; error below 1 ulp. As IEEE 754 has it, log(0) is -inf and that of a negative number is nan, without a warning."""
    return _by_pieces(_log, x)


def exp(x: ArrayLike) -> Float64:
    """Powers of e; error below 1 ulp, below 1.5 where the result is subnormal; inf above 709.79, 0 below -745.14."""
    return _by_pieces(_exp, x)


def exp2(x: ArrayLike) -> Float64:
    """Powers of 2; error below 1.5 ulp, none where x is whole."""
    return _by_pieces(_exp2, x)


def power(base: ArrayLike, exponent: ArrayLike) -> Float64:
    """``base`` from 0 on to the power of an ``exponent`` above 0, by logarithm; the power 1 is exact.

    The error is below 2 + 2 abs(exponent * log(base)) ulp.
    """
    base, exponent = np.asarray(base, np.float64), np.asarray(exponent, np.float64)
    base, exponent = np.broadcast_arrays(base, exponent)
    if bool((exponent == 1.0).all()):
        return base.copy()
    return np.where(exponent == 1.0, base, exp(exponent * log(base)))


def sine_of_turns(turns: ArrayLike) -> Float64:
    """sin(2 pi turns); error below 2 ulp. Turns are reduced without an error, so that whole and half ones are exactly 0."""
    return _by_pieces(_sine_of_turns, turns)


def _by_pieces(function: Callable[[Float64], Float64], x: ArrayLike) -> Float64:
    values = np.asarray(x, np.float64)
    if values.size <= _PIECE:
        return function(values.reshape(-1)).reshape(values.shape)
    flat, out = values.reshape(-1), np.empty(values.size)
    for start in range(0, flat.size, _PIECE):
        out[start : start + _PIECE] = function(flat[start : start + _PIECE])
    return out.reshape(values.shape)


def _log(x: Float64) -> Float64:
    if bool(x.min(initial=1.0) >= _LEAST_NORMAL) and bool(x.max(initial=1.0) < np.inf):
        return _log_of_normal(x, 0.0)
    finite = (x > 0.0) & (x < np.inf)
    subnormal = finite & (x < _LEAST_NORMAL)
    found = _log_of_normal(np.where(finite, x, 1.0) * np.where(subnormal, 2.0**54, 1.0), np.where(subnormal, 54.0, 0.0))
    return np.where(finite, found, np.where(x == 0.0, -np.inf, np.where(x > 0.0, np.inf, np.nan)))


def _log_of_normal(x: Float64, shift: Float64 | float) -> Float64:
    """log(x / 2**shift) of positive finite numbers that are not subnormal."""
    above = x.view(np.int64) - _ROOT_HALF_BITS
    power = (above >> 52).astype(np.float64)  # the mantissa is from sqrt(1/2) to sqrt(2), so that f below is small
    above &= (1 << 52) - 1
    above += _ROOT_HALF_BITS
    f = above.view(np.float64)
    f -= 1.0
    power -= shift
    s = f / (2.0 + f)
    z = s * s
    series = _horner(_LOG, z)
    series *= z
    half = 0.5 * f
    half *= f
    series += half
    series *= s
    series += power * _LN2_LOW
    half -= series
    half -= f
    power *= _LN2_HIGH
    power -= half
    return power


def _exp(x: Float64) -> Float64:
    x = np.minimum(np.maximum(x, -746.0), 710.0)  # beyond, the result is 0 and inf; nan stays
    exponent = x * 1.4426950408889634
    exponent += _ROUND
    whole = exponent.view(np.int64) - _ROUND_BITS
    exponent -= _ROUND
    high = x - exponent * _LN2_HIGH
    exponent *= _LN2_LOW
    return _exp_of_parts(high, exponent, whole)


def _exp2(x: Float64) -> Float64:
    x = np.minimum(np.maximum(x, -1076.0), 1025.0)
    exponent = x + _ROUND
    whole = exponent.view(np.int64) - _ROUND_BITS
    exponent -= _ROUND
    return _exp_of_parts((x - exponent) * _LN2, np.zeros_like(x), whole)


def _exp_of_parts(high: Float64, low: Float64, whole: NDArray[np.int64]) -> Float64:
    """exp(high - low) * 2**whole, for abs(high - low) up to 0.5 ln 2."""
    r = high - low
    square = r * r
    series = _horner(_EXP, square)
    series *= square
    np.subtract(r, series, out=series)
    r *= series
    np.subtract(2.0, series, out=series)
    r /= series
    low -= r
    low -= high
    np.subtract(1.0, low, out=low)
    first = whole >> 1  # 2**whole itself may be out of range where the result is not
    low *= _power_of_two(first)
    whole -= first
    with np.errstate(over="ignore"):
        low *= _power_of_two(whole)
    return low


def _power_of_two(exponent: NDArray[np.int64]) -> Float64:
    return ((exponent + _BIAS) << 52).view(np.float64)


def _sine_of_turns(turns: Float64) -> Float64:
    with np.errstate(invalid="ignore"):  # of inf
        part = turns - np.rint(turns)
    size = np.abs(part)
    size = np.where(size > 0.25, 0.5 - size, size)
    steep = size > 0.125  # there the cosine of the rest is better
    angle = np.where(steep, 0.25 - size, size) * _TWO_PI
    z = angle * angle
    sine = angle + angle * z * _horner(_SIN, z)
    cosine = 1.0 - (0.5 * z - z * z * _horner(_COS, z))
    return np.copysign(np.where(steep, cosine, sine), part)


def _horner(coefficients: tuple[float, ...], x: Float64) -> Float64:
    """The polynomial with these coefficients, from the constant term up."""
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value *= x
        value += coefficient
    return value
