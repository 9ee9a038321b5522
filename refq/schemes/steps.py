"""Steps of the optimal symmetric uniform quantizer, and which distribution some values have.

What Lin, Talathi, Annapureddy, arXiv 1511.06393, take from Max (1960; Gaussian), Paez and Glisson
(1972; Laplacian, Gamma) and Shi and Sun (2008), computed anew and to 17 bits.
"""

from __future__ import annotations

import math

# steps[b - 1]: what 2**b equal steps around zero are wide when the mean squared error of a
# unit-variance source is least. tests/schemes/test_steps.py derives every entry from the densities.
STEPS: dict[str, tuple[float, ...]] = {
    # the whole range, -sqrt(3) to sqrt(3), in 2**b parts
    "uniform": tuple(2 * math.sqrt(3) / 2**bits for bits in range(1, 18)),
    "gaussian": (
        1.5958, 0.99569, 0.58602, 0.33520, 0.18814, 0.10406, 0.056868, 0.030762, 0.016499,
        0.0087855, 0.0046498, 0.0024484, 0.0012836, 0.00067045, 0.00034906, 0.00018122,
        0.000093857,
    ),
    "laplacian": (
        1.4142, 1.0874, 0.73093, 0.46100, 0.27999, 0.16568, 0.096099, 0.054844, 0.030883,
        0.017196, 0.0094839, 0.0051886, 0.0028190, 0.0015224, 0.00081792, 0.00043742,
        0.00023298,
    ),
    # density sqrt(sqrt(3) / (8 pi |x|)) exp(-sqrt(3) |x| / 2), of speech (Paez and Glisson)
    "gamma": (
        1.1547, 1.0660, 0.79574, 0.53996, 0.34595, 0.21300, 0.12731, 0.074362, 0.042645,
        0.024096, 0.013451, 0.0074332, 0.0040730, 0.0022159, 0.0011981, 0.00064432,
        0.00034490,
    ),
}  # fmt: skip

# mean |x| / rms of each distribution
SHAPES = {
    "uniform": math.sqrt(3) / 2,
    "gaussian": math.sqrt(2 / math.pi),
    "laplacian": math.sqrt(1 / 2),
    "gamma": math.sqrt(1 / 3),
}


def step(distribution: str, bits: int) -> float:
    """Step of a symmetric quantizer of `bits` bits for unit variance.

    Beyond 17 bits every further bit halves it: the range no longer needs to grow.
    """
    steps = STEPS[distribution]
    return steps[min(bits, len(steps)) - 1] / 2.0 ** max(0, bits - len(steps))


def recognise(mean: float, rms: float) -> str:
    """The distribution whose mean |x| / rms is nearest; uniform where all values are zero."""
    ratio = mean / rms if rms else 1.0
    return min(SHAPES, key=lambda name: abs(SHAPES[name] - ratio))
