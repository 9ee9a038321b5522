"""What a user can ask of paper B's schemes: hybrid, energy, clustered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from refq.errors import OptionError

GRANULARITIES = ("4D", "3D", "2D")
DATA_GRANULARITIES = ("4D", "map")
FORMATS = ("magnitude", "coverage", "affine")
ACCUMULATED = ("products", "range", "kernel")
# no filter has so many times its layer's mean energy: layers have fewer filters
MOST_ENERGY = 1e6
EXPERIMENTS = ("conservative", "moderate", "aggressive")


@dataclass(frozen=True)
class HybridOptions:
    """Options of hybrid fixed point, with their defaults (paper B, sections 4 to 6).

    granularity: of convolutions' coefficient formats, by layer (4D), kernel (3D) or filter (2D);
    data_granularity: of data, by layer or feature map. formats: what integer bits follow from:
    the magnitude, the share of values to cover, or affine buckets. bits_bias: bits of biases.
    weight_bits: bits of single layers' coefficients. unsigned: data behind a ReLU has no sign bit.
    float_data: data stays float32; only: layers that are quantized, all if empty; with either, or
    affine formats, everything is computed in float32 on rounded values.
    accumulator_bits: of single layers. accumulated: fraction bits of accumulators, those of the
    products, or what the range of calibrated sums leaves, of all or of each kernel. bits_low: of
    filters with little energy, and of residuals; low_bits: of single layers'. threshold: filters
    with less than this times the mean energy of their layer have few bits; low_share: percent of
    single layers' filters that have, those with the least energy; experiment: of EXPERIMENTS, the
    paper's. clusters: base kernels of single layers; every_layer: of all others, 0 for none.
    """

    granularity: str = "3D"
    data_granularity: str = "4D"
    formats: str = "magnitude"
    bits_bias: int = 8
    weight_bits: Mapping[str, int] = field(default_factory=dict)
    unsigned: bool = False
    float_data: bool = False
    only: tuple[str, ...] = ()
    accumulator_bits: Mapping[str, int] = field(default_factory=dict)
    accumulated: str = "products"
    bits_low: int = 4
    low_bits: Mapping[str, int] = field(default_factory=dict)
    threshold: float | None = None
    low_share: Mapping[str, float] = field(default_factory=dict)
    experiment: str | None = None
    clusters: Mapping[str, int] = field(default_factory=dict)
    every_layer: int = 4

    @property
    def simulated(self) -> bool:
        """Whether some numbers are such that integers cannot compute with them."""
        return self.float_data or bool(self.only) or self.formats == "affine"

    def __post_init__(self) -> None:
        for label, given, known in (
            ("--granularity", self.granularity, GRANULARITIES),
            ("--data-granularity", self.data_granularity, DATA_GRANULARITIES),
            ("--formats", self.formats, FORMATS),
            ("--acc-frac", self.accumulated, ACCUMULATED),
            ("--experiment", self.experiment, (None, *EXPERIMENTS)),
        ):
            if given not in known:
                names = ", ".join(name for name in known if name)
                raise OptionError(f"{label} {given}", f"one of {names}")
        for label, bits in (
            ("--bits-bias", self.bits_bias),
            ("--bits-low", self.bits_low),
            *((f"bits of {name}", bits) for name, bits in self.weight_bits.items()),
            *((f"low bits of {name}", bits) for name, bits in self.low_bits.items()),
        ):
            if not 2 <= bits <= 24:
                raise OptionError(f"{label} {bits}", "2 to 24")
        if self.threshold is not None and not 0 <= self.threshold <= MOST_ENERGY:
            raise OptionError(
                f"--threshold {self.threshold}", f"0 to {MOST_ENERGY:g} times the mean energy"
            )
        for name, share in self.low_share.items():
            if not 0 <= share <= 100:
                raise OptionError(f"--low-share {name}={share:g}", "0 to 100 percent")
        for name, count in (("--clusters", self.every_layer), *self.clusters.items()):
            if count < 0:
                raise OptionError(f"{count} base kernels of {name}", "0 or more; 0 for none")
        limited = self.accumulator_bits or self.accumulated != "products"
        if self.simulated and (self.data_granularity != "4D" or limited):
            raise OptionError(
                "--float-data, --only or --formats affine with formats of maps or accumulators",
                "data by layer and exact sums: they are simulated in float32",
            )
        chosen = [self.threshold is not None, bool(self.low_share), self.experiment is not None]
        if sum(chosen) > 1:
            raise OptionError(
                "more than one of --threshold, --low-share and --experiment", "one of them"
            )
