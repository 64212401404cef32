"""How far rounding may carry a number, from the arithmetic that made it (Higham, "Accuracy and
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
comparison are rounded, their two bounds are added; float64 beside float32 may be left out.
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


def sum_error(terms, dtype="float64", axis=None, more=1):
    """Return the most by which rounding may change Σ terms, absolutely.

    Args:
      terms: what is summed, or its magnitudes.
      dtype: the type in which the sum is formed.
      axis: over which it is formed; None is all.
      more: the roundings in each term beside the additions: 1 for a product of two numbers.

    Returns:
      γ over the additions and `more`, times Σ|terms|: a number, or an array without `axis`.
    """
    terms = np.asarray(terms, np.float64)
    total = np.sum(np.abs(terms), axis)
    additions = terms.size // max(1, np.size(total)) - 1
    return gamma(additions + more, dtype) * total


def squared_norm_error(norm_squared, error_norm):
    """Return the most by which ‖v‖² changes where v changes by no more than `error_norm`.

    ‖v + e‖² − ‖v‖² = 2⟨v, e⟩ + ‖e‖², so it is 2·‖v‖·‖e‖ + ‖e‖² (Cauchy–Schwarz).
    """
    return 2 * np.sqrt(norm_squared) * error_norm + error_norm**2


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
