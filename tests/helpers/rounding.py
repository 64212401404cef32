"""How much rounding may change a number, from the arithmetic that made it (Higham, "Accuracy and
Stability of Numerical Algorithms", 2nd edition, chapters 2 to 4).

A bound is three things multiplied, and a test says each of them:

    roundings × unit × condition

- *unit* u: one rounded operation gives fl(a ∘ b) = (a ∘ b)(1 + δ), |δ| ≤ u (`unit`);
- *roundings* n: operations one after another give (1 + δ₁)…(1 + δₙ) = 1 + θ, |θ| ≤ γₙ (`gamma`).
  A sum of n terms in any order, by any number of threads, with fused multiplication or without,
  puts at most n − 1 additions on each term; its terms' own roundings are added to n;
- *condition*: by how much a relative change of what goes in grows in what comes out. It is 1 for
  products, quotients and sums of one sign, and Σ|terms| / |Σ terms| where terms cancel
  (`condition`).

So an inner product of n terms is within `gamma(n) · condition(terms)` of the exact one, relatively,
or `gamma(n) · Σ|terms|` absolutely (`sum_error`), whatever the machine. Where both sides of a
comparison are rounded, their two bounds are added; float64 next to float32 may be left out.
"""

import ml_dtypes
import numpy as np


def unit(dtype="float64"):
    """Return the unit roundoff u of a number type: 2⁻⁵³, float32 2⁻²⁴, bfloat16 2⁻⁸.

    Args:
      dtype: a name, or a type of NumPy or TensorFlow.
    """
    return float(ml_dtypes.finfo(_numpy_type(dtype)).eps) / 2


def gamma(roundings, dtype="float64"):
    """Return γₙ = n·u / (1 − n·u), the most that n roundings change a number, relatively."""
    product = roundings * unit(dtype)
    if product >= 1:
        raise ValueError(f"{roundings} roundings leave no digit of {dtype}")
    return product / (1 - product)


def condition(terms, axis=None):
    """Return Σ|terms| / |Σ terms|: 1 where all have one sign, infinite where they cancel.

    The condition of a difference a − b is that of the terms (a, −b).
    """
    terms = np.asarray(terms, np.float64)
    with np.errstate(divide="ignore"):
        return np.sum(np.abs(terms), axis) / np.abs(np.sum(terms, axis))


def sum_error(terms, dtype="float64", axis=None, roundings=1):
    """Return the most by which rounding may change Σ terms, absolutely.

    Args:
      terms: what is summed, or its magnitudes.
      dtype: the type in which the sum is formed.
      axis: over which it is formed; None is all.
      roundings: those in each term besides the additions: 1 for a product of two numbers.

    Returns:
      γ over the additions and `roundings`, times Σ|terms|: a number, or an array without `axis`.
    """
    terms = np.asarray(terms, np.float64)
    total = np.sum(np.abs(terms), axis)
    additions = terms.size // max(1, np.size(total)) - 1
    return gamma(additions + roundings, dtype) * total


def squared_norm_error(norm_squared, error_norm):
    """Return the most by which ‖v‖² changes where v changes by no more than `error_norm`.

    ‖v + e‖² − ‖v‖² = 2⟨v, e⟩ + ‖e‖², so it is 2·‖v‖·‖e‖ + ‖e‖² (Cauchy–Schwarz).
    """
    return 2 * np.sqrt(norm_squared) * error_norm + error_norm**2


def squared_distance_error(a, b, dtype="float64", error=0.0):
    """Return the most by which rounding may change ‖a − b‖², absolutely.

    Args:
      a, b: arrays, or b is 0.
      dtype: the type in which it is formed.
      error: the most by which an element of a − b is already wrong, a number or an array.

    Returns:
      What the elements' errors do, and of each term the n − 1 additions, the squaring and, twice
      because it is squared, the subtraction.
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    wrong = np.linalg.norm(np.broadcast_to(error, difference.shape))
    inherited = squared_norm_error(np.sum(difference**2), wrong)
    return inherited + gamma(difference.size + 2, dtype) * (np.sum(difference**2) + inherited)


def gram_error(features, dtype="float64", error=0.0, mask=None):
    """Return the most by which rounding may change each element of a Gram matrix, absolutely.

    Args:
      features: H × W × C.
      dtype: the type in which it is formed.
      error: the most by which each feature is already wrong, a number or H × W × C.
      mask: H × W, of a region's matrix: its root, rounded, is multiplied on both sides.

    Returns:
      C × C: of each product φ_a φ_b what the two errors do, and as many roundings as there are
      places (and, with a mask, 4 more).
    """
    sizes = np.abs(np.asarray(features, np.float64))
    errors = np.broadcast_to(error, sizes.shape)
    mask = np.ones(sizes.shape[:2]) if mask is None else np.asarray(mask, np.float64)

    def products(a, b):
        return np.einsum("hw,hwa,hwb->ab", mask, a, b, optimize=True)

    inherited = products(sizes, errors)
    inherited = inherited + inherited.T + products(errors, errors)
    roundings = mask.size + (0 if np.all(mask == 1) else 4)
    return inherited + gamma(roundings, dtype) * (products(sizes, sizes) + inherited)


def convolution_error(value, kernel, bias, dtype="float64", error=0.0):
    """Return the most by which rounding may change a 3 × 3 convolution's output, absolutely.

    Args:
      value: H × W × C, zeros around it.
      kernel: 3 × 3 × C × C'.
      bias: C'.
      dtype: the type in which it is formed.
      error: the most by which each value is already wrong, a number or H × W × C.

    Returns:
      H × W × C': what the values' errors do, and of each of the 9 C products and of the bias
      9 C + 1 roundings. A ReLU or a pooling by maxima behind it makes them no larger.
    """
    errors = np.broadcast_to(error, np.shape(value))
    sizes = np.abs(np.asarray(kernel, np.float64))
    inherited = convolved(errors, sizes) if np.any(error) else 0.0
    magnitudes = convolved(np.abs(value), sizes) + np.abs(bias) + inherited
    return inherited + gamma(9 * np.shape(kernel)[2] + 1, dtype) * magnitudes


def convolved(value, kernel):
    """Return the 3 × 3 convolution of H × W × C values with zeros around them, float64."""
    height, width = np.shape(value)[:2]
    padded = np.pad(np.asarray(value, np.float64), ((1, 1), (1, 1), (0, 0)))
    return sum(
        padded[row : row + height, column : column + width] @ kernel[row, column]
        for row in range(3)
        for column in range(3)
    )


def transform_error(height, width, dtype="float64"):
    """Return the most by which rounding changes a 2-D Fourier transform, ‖error‖ / ‖transform‖.

    A fast transform of a side with prime factors p takes one step for each factor, that adds up p
    complex products. A step's error is γ(p + 4) · Σ|terms| (a complex product counts 4: two
    products, a sum, a rounded twiddle factor), √2 of it for the two parts, and Σ|terms| is up to
    √p times the norm that the step gives (Higham, theorem 24.2, for p = 2).
    """
    factors = _prime_factors(height) + _prime_factors(width)
    return sum(np.sqrt(2 * factor) * gamma(factor + 4, dtype) for factor in factors)


def filter_error(planes, gain, dtype="float64"):
    """Return the most by which rounding changes a value of F⁻¹(gain · F(plane)), absolutely.

    Args:
      planes: … × H × W, or their norm; that of their errors, which no value's exceeds, is bounded.
      gain: H × W, itself rounded as often as there are values, whose mean it is divided by.
      dtype: the type in which it is formed.
    """
    height, width = np.shape(gain)
    relative = 2 * transform_error(height, width, dtype) + gamma(np.size(gain) + 9)
    relative += gamma(2, dtype)  # the gain in that type, and the product
    return relative * np.max(gain) * np.linalg.norm(planes)


def there_and_back_error(values, gain, dtype="float64"):
    """Return the most by which a filter and its inverse, one after the other, change a value.

    Either way the first one's error grows by the second one's largest gain, and the second works
    on values that the first one's largest gain has enlarged. Arguments as for `filter_error`.
    """
    first, second = (filter_error(values, step_gain, dtype) for step_gain in (gain, 1 / gain))
    return first / np.min(gain) + second * np.max(gain)


def _prime_factors(number):
    for factor in range(2, number + 1):
        if number % factor == 0:
            return [factor, *_prime_factors(number // factor)]
    return []


def difference_quotient_error(step, third_derivative, value_error):
    """Return the most by which (f(x + h) − f(x − h)) / 2h misses f′(x).

    Args:
      step: h.
      third_derivative: the largest |f‴| within h of x: 0 for a polynomial of degree two.
      value_error: the most by which rounding changes a value of f, absolutely.

    Returns:
      h²/6 · |f‴|, Taylor's remainder, + value_error / h, as two rounded values are subtracted.
    """
    return step**2 / 6 * third_derivative + value_error / step


def _numpy_type(dtype):
    return np.dtype(getattr(dtype, "as_numpy_dtype", dtype))
