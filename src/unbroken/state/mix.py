"""Our own 64-bit mixing, so that no library's generator decides an order or a seed.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014). Golden values stand in the tests: a scheme that a
run was born with is never changed, only succeeded by one with another number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ORDER_SCHEME = 1
"""Number of the way orders are derived."""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix64(*numbers: int) -> int:
    """Mix whole numbers, in order, into one of 64 bits; any sign and size."""
    return mix64_on(0, *numbers)


def mix64_on(state: int, *numbers: int) -> int:
    """Mix more numbers into `state`, which `mix64` has made of what comes before them."""
    for number in numbers:
        state = (state + _GOLDEN + (number & _MASK)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def mix64_each(
    seed: int | npt.NDArray[np.uint64], numbers: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """Mix one 64-bit seed, or one for each, with each of many numbers: `mix64`'s last round, vectorised.

    Args:
        seed: The result of `mix64` over what comes before; (N,) uint64 for one of each number.
        numbers: (N,) uint64.

    Returns:
        (N,) uint64, where entry i equals the state that began as `seed` mixed with `numbers[i]`.
    """
    if isinstance(seed, int):
        state = np.uint64((seed + _GOLDEN) & _MASK) + numbers
    else:
        state = seed + np.uint64(_GOLDEN) + numbers
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def permutation(count: int, *seeds: int) -> npt.NDArray[np.int64]:
    """Return a permutation of `range(count)` as a stable argsort of mixed 64-bit keys."""
    keys = mix64_each(mix64(*seeds), np.arange(count, dtype=np.uint64))
    return np.argsort(keys, kind="stable")
