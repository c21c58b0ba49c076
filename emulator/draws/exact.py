"""Logarithm and normal quantile from +, -, *, / and square root alone.

IEEE 754 rounds those five exactly, so every processor gives the same bits. ``np.log`` does not: numpy chooses a vector library by what
the processor has, and a drawn fault time 2**54 ns away would move by nanoseconds between two machines of one Ray cluster.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]

#: Long arrays are worked on in pieces of this size, which stay in the cache.
_PIECE = 16_384

# fdlibm e_log.c (Sun Microsystems, 1993): ln 2 in two parts and the Remez polynomial of log((1 + s) / (1 - s)).
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LG = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)

# Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988), PPND16: relative error
# about 1e-16. Coefficients from the constant term up: central, |z| up to 5.3 or so, tail.
_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_MIDDLE = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_TAIL = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


def log(x: ArrayLike) -> Float64:
    """Natural logarithm of positive, finite, normal numbers; error below 1 ulp (fdlibm)."""
    x = np.asarray(x, np.float64)
    if x.size <= _PIECE:
        return _log(x)
    flat = x.reshape(-1)
    return np.concatenate([_log(flat[start : start + _PIECE]) for start in range(0, flat.size, _PIECE)]).reshape(x.shape)


def _log(x: Float64) -> Float64:
    mantissa, exponent = np.frexp(x)
    small = mantissa < 0.7071067811865476  # keep the mantissa within sqrt(1/2)..sqrt(2), so that f below is small
    mantissa = np.where(small, mantissa * 2.0, mantissa)
    power = (exponent - small).astype(np.float64)
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    series = np.full_like(z, _LG[-1])
    for coefficient in _LG[-2::-1]:
        series = series * z + coefficient
    half = 0.5 * f * f
    return np.asarray(power * _LN2_HIGH - ((half - (s * (half + z * series) + power * _LN2_LOW)) - f))


def normal_quantile(p: ArrayLike) -> Float64:
    """The z with P(Z < z) = p, for p in (0, 1)."""
    p = np.asarray(p, np.float64)
    q = p - 0.5
    r = np.sqrt(-log(np.where(q < 0, p, 1.0 - p)))
    central = 0.180625 - q * q
    tail = np.where(r <= 5.0, _ratio(_MIDDLE, r - 1.6), _ratio(_TAIL, r - 5.0))
    return np.where(np.abs(q) <= 0.425, q * _ratio(_CENTRE, central), np.where(q < 0, -tail, tail))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Float64) -> Float64:
    numerator, denominator = (np.full_like(x, row[-1]) for row in coefficients)
    for upper, lower in zip(coefficients[0][-2::-1], coefficients[1][-2::-1], strict=True):
        numerator, denominator = numerator * x + upper, denominator * x + lower
    return numerator / denominator
