"""Addition and multiplication tables of small finite fields."""

from __future__ import annotations

import itertools

import numpy as np


def prime_power(order: int) -> tuple[int, int] | None:
    """Return `(p, k)` with `order == p ** k` and p prime, or None.

    >>> prime_power(8), prime_power(7), prime_power(6)
    ((2, 3), (7, 1), None)
    """
    if order < 2:
        return None
    p = next(d for d in range(2, order + 1) if order % d == 0)
    k, rest = 0, order
    while rest % p == 0:
        k, rest = k + 1, rest // p
    return (p, k) if rest == 1 else None


def is_prime(number: int) -> bool:
    """Whether `number` is prime."""
    power = prime_power(number)
    return power is not None and power[1] == 1


def finite_field(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Tables of F_order; element i has the base-p digits of i as polynomial coefficients.

    Returns:
        (addition, multiplication), each int64 `[order, order]`.

    Raises:
        ValueError: `order` is not a prime power.
    """
    power = prime_power(order)
    if power is None:
        raise ValueError(f"no finite field has {order} elements; a prime power is needed")
    p, k = power
    weights = p ** np.arange(k)
    digits = np.arange(order)[:, None] // weights % p
    addition = (digits[:, None] + digits) % p @ weights
    # A monic modulus is irreducible exactly when the products of non-zero elements never vanish.
    for tail in itertools.product(range(p), repeat=k):
        multiplication = _products_modulo(digits, np.array(tail), p) @ weights
        if multiplication[1:, 1:].all():
            return addition, multiplication
    raise AssertionError("an irreducible polynomial exists for every prime power")


def _products_modulo(digits: np.ndarray, tail: np.ndarray, p: int) -> np.ndarray:
    """Digits `[order, order, k]` of all products modulo x^k + tail, over the integers mod p."""
    order, k = digits.shape
    product = np.zeros((order, order, 2 * k - 1), dtype=np.int64)
    for i, j in itertools.product(range(k), repeat=2):
        product[:, :, i + j] += digits[:, None, i] * digits[None, :, j]
    for degree in range(2 * k - 2, k - 1, -1):
        product[:, :, degree - k : degree] -= product[:, :, degree, None] * tail
    return product[:, :, :k] % p
