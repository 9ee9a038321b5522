"""The options of an evaluation, and of all that needs a network, images and a scheme: a row each.

A row says what an option is for and who reads it. A scheme's row is a field of schemes.Options or
HybridOptions, which a scheme reads that names it in READS; a search's row is a field of
search.Settings, which a strategy reads that search.READS names it for.
"""

from __future__ import annotations

from refq import networks, schemes, search
from refq.cli import paths
from refq.cli.command import Group, Option
from refq.data import ORDERS
from refq.data.presets import PRESETS
from refq.errors import OptionError
from refq.formats.fixed import Overflow, Rounding, parse_overflow, parse_rounding
from refq.schemes import hybrid_options as hybrid
from refq.schemes import options as known

SCHEME, SEARCH = "scheme", "search"


def _numbers(title: str) -> Group:
    return Group(title, SCHEME, "a scheme that reads them")


INPUTS = Group("network and images")
CHOSEN = Group("a scheme, or a plan that fixes all numbers")
DATA = _numbers("activations")
COEFFICIENTS = _numbers("weights and biases")
SUMS = _numbers("accumulators")
FEW = _numbers("few bits and base kernels")
NUMBERS = _numbers("all numbers")
FOUND = Group("search for the fewest bits", SEARCH, "another search")
FILES = Group("files to write")
ROUNDINGS, OVERFLOWS = (", ".join(mode.value for mode in modes) for modes in (Rounding, Overflow))
# what a strategy says that is asked for bits that it does not search
OTHER_BITS = "another search: this one finds its own bits"


def width_range(text: str | None) -> range | None:
    """`1-8`, least and greatest."""
    if text is None:
        return None
    least, dash, most = text.partition("-")
    if dash and least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most) <= 24:
        return range(int(least), int(most) + 1)
    raise OptionError(f"--search-bits {text}", "LEAST-MOST within 1-24, such as 1-8")


def size(text: str) -> tuple[int, int]:
    """`224` or `160x320`: rows and columns."""
    rows, by, columns = text.lower().partition("x")
    both = (rows, columns if by else rows)
    if not all(each.isdecimal() and 1 <= int(each) <= 1 << 16 for each in both):
        raise OptionError(f"--input-size {text}", "N or ROWSxCOLUMNS, 1 or more each")
    return int(both[0]), int(both[1])


def listed(text: str | None) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


SEVERAL = f"of {len(networks.known())}, such as vgg16 (docs/networks.md)"
OPTIONS = (
    Option(
        "model NETWORK",
        INPUTS,
        f"one {SEVERAL}, or a model file (docs/your-network.md)",
        path=paths.MODEL,
    ),
    Option("--network FILE.py", INPUTS, "that defines the network's name", path=paths.INPUT),
    Option("--outputs NAMES", INPUTS, "tensors of a model file (default: its own)", kind=listed),
    Option("--external-data FOLDER", INPUTS, "where a model file's data may lie", path=paths.INPUT),
    Option("--prototxt FILE", INPUTS, "that describes a .caffemodel's layers", path=paths.INPUT),
    Option("--scheme NAME", CHOSEN, f"{', '.join(schemes.known())} (default: float)"),
    Option(
        "--weights FILE",
        INPUTS,
        "HDF5, or random:SEED (default: the bundled weights)",
        path=paths.WEIGHTS,
    ),
    Option(
        "--data SOURCE",
        INPUTS,
        "bundled, random:N, a folder, packed .h5, or .npy, .npz (docs/data.md)",
        path=paths.DATA,
    ),
    Option(
        "--preprocessing NAME",
        INPUTS,
        f"of inputs: {', '.join(PRESETS)}, or FILE.json (default: as the weights state)",
        path=paths.RULE,
    ),
    Option(
        "--labels FILE", INPUTS, "one whole number for each input (.npy, text)", path=paths.INPUT
    ),
    Option("--classes FILE", INPUTS, "which class each folder is (docs/data.md)", path=paths.INPUT),
    Option(
        "--class-order NAME", INPUTS, "of class folders (default: natural)", None, tuple(ORDERS)
    ),
    Option("--bad-images WHAT", INPUTS, "at those that cannot be read", "stop", ("stop", "skip")),
    Option(
        "--input-size N",
        INPUTS,
        "rows and columns, or ROWSxCOLUMNS: for random weights, or of a file that leaves them open",
        kind=size,
        memory=True,
    ),
    Option("--images N", INPUTS, "this many images (default: all)", kind=int),
    Option("--skip N", INPUTS, "images to pass over first", 0),
    Option("--calibrate N", INPUTS, "images for calibration (default: 100)", kind=int),
    Option(
        "--batch-size N", INPUTS, "images at a time (default: by memory)", kind=int, memory=True
    ),
    Option(
        "--bits-act BITS", DATA, "bits of stored values (default: by scheme)", by_layer="widths"
    ),
    Option("--frac-act F", DATA, "fraction bits of the whole network", kind=int),
    Option(
        "--frac-by WHAT",
        DATA,
        "one F for all, or each its own (default: layer of files)",
        None,
        known.FRAC_BY,
    ),
    Option("--bits-wt BITS", COEFFICIENTS, "bits (default: by scheme)", by_layer="weight_bits"),
    Option("--bits-fc N", COEFFICIENTS, "bits of dense layers'", kind=int),
    Option("--bits-image N", DATA, "bits of the signed image", 9),
    Option(
        "--bits-acc BITS",
        SUMS,
        "bits, or exact (default: by scheme)",
        field="accumulator",
        by_layer="accumulator_bits",
    ),
    Option("--acc-overflow MODE", SUMS, OVERFLOWS, "sat", field="accumulator", means=None),
    Option("--acc-every-mac", SUMS, "saturate after every MAC", field="accumulator", means=None),
    # where sums have all fraction bits, nothing is rounded
    Option(
        "--acc-rounding MODE",
        SUMS,
        "where they have fewer fraction bits",
        "ties-even",
        field="accumulated",
        means=None,
    ),
    Option("--rounding MODE", DATA, ROUNDINGS, "ties-even", means=parse_rounding),
    Option("--overflow MODE", DATA, OVERFLOWS, "sat", means=parse_overflow),
    Option("--assign RULE", DATA, "which code", "nearest", known.ASSIGN),
    Option("--qm WHICH", DATA, "q_m of each layer, or 12 bits", "layer", known.QM),
    Option("--kmeans HOW", DATA, "how codes are found", "exact", known.KMEANS),
    Option("--kmeans-iterations N", DATA, "at most so many of Lloyd's", 100),
    Option(
        "--no-saturate",
        DATA,
        "cluster values beyond 12 bits, too",
        field="saturate",
        means=lambda value: not value,
    ),
    Option("--coverage SHARE", DATA, "share that formats cover", 0.999),
    Option("--distribution NAME", DATA, "of values, or what fits", "fit", known.DISTRIBUTIONS),
    Option("--allocate WHAT", DATA, "what shares its bits", "activations", known.ALLOCATE),
    Option("--kappa DB", DATA, "dB that a bit gains", 5.0),
    Option("--numbers KIND", NUMBERS, "kind of numbers", "fixed", known.NUMBERS),
    Option("--device NAME", NUMBERS, "whose code", "cpu", known.DEVICES),
    Option("--mode NAME", NUMBERS, "weights alone, or data, too", "weights_rounded", known.MODES),
    Option("--seed N", NUMBERS, "of what is random, and of a search's order of images", 0),
    Option("--granularity WHICH", COEFFICIENTS, "formats by", "3D", hybrid.GRANULARITIES),
    Option("--data-granularity WHICH", DATA, "formats by", "4D", hybrid.DATA_GRANULARITIES),
    Option("--formats HOW", COEFFICIENTS, "integer bits by", "magnitude", hybrid.FORMATS),
    Option("--bits-bias N", COEFFICIENTS, "bits of biases", 8),
    Option("--unsigned", DATA, "no sign bit behind a ReLU"),
    Option("--float-data", DATA, "quantize coefficients alone"),
    Option("--only LAYERS", NUMBERS, "quantize these, such as conv2,conv3", means=listed),
    Option(
        "--acc-frac HOW",
        SUMS,
        "fraction bits by",
        "products",
        hybrid.ACCUMULATED,
        field="accumulated",
    ),
    Option("--bits-low BITS", FEW, "few bits", "4", by_layer="low_bits"),
    Option("--threshold F", FEW, "few bits below so many mean energies", kind=float),
    Option(
        "--low-share PERCENT", FEW, "of filters with few bits", kind=float, by_layer="low_share"
    ),
    Option("--experiment NAME", FEW, "the paper's (default: moderate)", None, hybrid.EXPERIMENTS),
    Option("--clusters K", FEW, "base kernels", "4", field="every_layer", by_layer="clusters"),
    Option("--delta POINTS", FOUND, "search within so many points of float", kind=float),
    Option("--metric NAME", FOUND, "of accuracy", "top1", ("top1", "top5")),
    Option(
        "--search NAME",
        FOUND,
        "how (default: by scheme)",
        None,
        search.STRATEGIES,
        field="strategy",
    ),
    Option(
        "--objective NAME",
        FOUND,
        "what is minimised",
        "memory",
        tuple(search.OBJECTIVES),
        instead="none: it has its own",
    ),
    Option(
        "--search-bits LEAST-MOST",
        FOUND,
        "widths to try, such as 2-6 (default: by scheme)",
        field="widths",
        means=width_range,
        instead=OTHER_BITS,
    ),
    Option(
        "--search-images N",
        FOUND,
        "the first so many (default: those of --calibrate)",
        kind=int,
        field="images",
    ),
    Option(
        "--confidence SHARE",
        FOUND,
        "of giving up a candidate; 1: certainty",
        0.999,
        instead="none: it gives up nothing",
    ),
    Option(
        "--search-memory MIB",
        FOUND,
        "activations that are kept",
        1024,
        field="budget",
        means=lambda mebibytes: mebibytes << 20,
    ),
    Option("--step F", FOUND, "of the energy threshold", 0.05),
    Option("--journal FILE", FOUND, "that a killed search resumes from", path=paths.FILE),
    Option("--plan FILE", CHOSEN, "one that --save-plan wrote", path=paths.INPUT),
    Option("--save-plan FILE", FILES, "the plan as JSON", path=paths.FILE),
)
JSON = Option("--json FILE", FILES, "the report as JSON, - for stdout", path=paths.FILE)
# what an evaluation has beside them
OUTPUTS = Option("--save-outputs FILE", FILES, "the final outputs as .npy", path=paths.FILE)
OPS = Option("--ops NAME", INPUTS, "arithmetic", "kernels", ("kernels", "oracle"))


def named(*names: str) -> tuple[Option, ...]:
    """Some of the options, for commands that do not have all."""
    rows = {row.name: row for row in OPTIONS}
    return tuple(rows[name] for name in names)
