"""What a user can ask of a scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from refq.errors import OptionError
from refq.formats.fixed import Accumulator, Overflow, Rounding
from refq.schemes.hybrid_options import HybridOptions
from refq.schemes.steps import STEPS

ASSIGN = ("nearest", "floor")
QM = ("layer", "global")
FRAC_BY = ("network", "layer")
KMEANS = ("exact", "lloyd", "lloyd-range", "lloyd-random", "lloyd++")
DISTRIBUTIONS = ("fit", *STEPS)
ALLOCATE = ("activations", "all")
NUMBERS = ("fixed", "minifloat", "power-of-two")
DEVICES = ("cpu", "gpu")
MODES = ("weights_rounded", "eightbit")


@dataclass(frozen=True)
class Options:
    """Options of all schemes, with their defaults; each scheme reads what concerns it.

    bits_act: bits of activations. widths: bits of single points by layer name, which win.
    frac_act: F of the whole network, picked by calibration if None. frac_by: whether calibration
    picks one for the network or one for each layer. bits_wt: bits of weights and
    biases, by the scheme if None; bits_fc: of dense layers', where they are others. bits_image:
    bits of the signed image codes. accumulator: by the scheme if None. image_bounds: the least and
    greatest input value; image_integral: True where inputs are integers. coverage: the share of
    activations that formats picked by calibration cover. kappa: dB of SQNR that a bit gains.
    hybrid: of paper B's schemes. assign, qm, kmeans, kmeans_iterations, saturate, distribution,
    allocate, numbers, device, mode: see docs/evaluate.md and the contract.
    """

    bits_act: int | None = None
    widths: Mapping[str, int] = field(default_factory=dict)
    frac_act: int | None = None
    frac_by: str = "network"
    bits_wt: int | None = None
    bits_fc: int | None = None
    bits_image: int = 9
    accumulator: Accumulator | None = None
    rounding: Rounding = Rounding.TIES_EVEN
    overflow: Overflow = Overflow.SAT
    assign: str = "nearest"
    qm: str = "layer"
    kmeans: str = "exact"
    kmeans_iterations: int = 100
    saturate: bool = True
    coverage: float = 0.999
    distribution: str = "fit"
    allocate: str = "activations"
    kappa: float = 5.0
    numbers: str = "fixed"
    device: str = "cpu"
    mode: str = "weights_rounded"
    seed: int = 0
    image_bounds: tuple[float, float] = (-255.0, 255.0)
    image_integral: bool = True
    hybrid: HybridOptions = HybridOptions()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        for label, bits, low, high in (
            ("--bits-act", self.bits_act, 1, 24),
            ("--bits-wt", self.bits_wt, 2, 24),
            ("--bits-fc", self.bits_fc, 2, 24),
            ("--bits-image", self.bits_image, 2, 24),
            *((f"bits of {name}", bits, 1, 24) for name, bits in self.widths.items()),
        ):
            if bits is not None and not low <= bits <= high:
                raise OptionError(f"{label} {bits}", f"{low} to {high}")
        if not 0.5 <= self.coverage <= 1.0:
            raise OptionError(f"coverage {self.coverage}", "0.5 to 1.0, such as 0.999")
        if self.kmeans_iterations < 0:
            raise OptionError(f"--kmeans-iterations {self.kmeans_iterations}", "0 or more")
        if self.frac_act is not None and not -32 <= self.frac_act <= 32:
            raise OptionError(f"--frac-act {self.frac_act}", "-32 to 32")
        if not 0 <= self.seed < 2**31:
            raise OptionError(f"--seed {self.seed}", "0 to 2147483647")
        if not 1.0 <= self.kappa <= 6.02:
            raise OptionError(f"--kappa {self.kappa}", "1 to 6.02 dB a bit")
        for label, given, known in (
            ("--assign", self.assign, ASSIGN),
            ("--qm", self.qm, QM),
            ("--frac-by", self.frac_by, FRAC_BY),
            ("--kmeans", self.kmeans, KMEANS),
            ("--distribution", self.distribution, DISTRIBUTIONS),
            ("--allocate", self.allocate, ALLOCATE),
            ("--numbers", self.numbers, NUMBERS),
            ("--device", self.device, DEVICES),
            ("--mode", self.mode, MODES),
        ):
            if given not in known:
                raise OptionError(f"{label} {given}", f"one of {', '.join(known)}")


@dataclass(frozen=True)
class When:
    """A field of Options, or of HybridOptions, that a scheme reads where holds(options) alone;
    wanted: what a user has to ask for beside it."""

    field: str
    holds: Callable[[Options], bool]
    wanted: str


Reads = tuple["str | When", ...]


def names(reads: Reads) -> set[str]:
    """Fields that are read, be it under a condition."""
    return {each if isinstance(each, str) else each.field for each in reads}


def conditions(reads: Reads, field: str) -> tuple[When, ...]:
    """Of which one has to hold where the field is to be read; none for a field that always is."""
    if field in reads:
        return ()
    return tuple(each for each in reads if isinstance(each, When) and each.field == field)
