"""The command line of an evaluation: options, what contradicts what, and what schemes get."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import ModuleType

from refq import networks, schemes, search, writing
from refq.cli import hybrid_arguments
from refq.data.preprocessing import Preprocessing
from refq.errors import OptionError
from refq.formats.fixed import parse_overflow, parse_rounding
from refq.networks import Network
from refq.networks.points import storage_points
from refq.schemes.options import KMEANS, MODES, NUMBERS


def parser() -> argparse.ArgumentParser:
    """The command line of refq.evaluate."""
    out = argparse.ArgumentParser(
        "refq.evaluate",
        allow_abbrev=False,
        description="Accuracy of a network in float and in integers, layer by layer.",
    )
    files = add_plan(out)
    files.add_argument("--save-outputs", help="write the final outputs as .npy")
    files.add_argument("--json", help="write the report as JSON, - for stdout")
    out.add_argument("--ops", default="kernels", choices=("kernels", "oracle"), help="arithmetic")
    return out


def add_plan(out: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds what says how a network is quantized and on which images; returns the group of files."""
    out.add_argument("network", help=f"one of {', '.join(networks.known())}")
    out.add_argument("--scheme", help=f"{', '.join(schemes.known())} (default: float)")
    out.add_argument("--weights", help="HDF5 dump or random:SEED (default: the bundled weights)")
    out.add_argument("--data", help="bundled, random:N, a folder or packed .h5 (docs/data.md)")
    out.add_argument("--input-size", type=int, help="rows and columns, for random weights")
    out.add_argument("--images", type=int, help="this many images (default: all)")
    out.add_argument("--skip", type=int, default=0, help="images to pass over first")
    out.add_argument("--calibrate", type=int, help="images for calibration (default 100)")
    out.add_argument("--batch-size", type=int, help="images at a time (default: by memory)")
    bits = out.add_argument_group("numbers")
    bits.add_argument("--bits-act", help="bits of activations: 5, or 8,4,5,..., or fc6=6,fc7=3")
    bits.add_argument("--frac-act", type=int, help="fraction bits F of the whole network")
    bits.add_argument(
        "--bits-wt", help="bits of weights and biases (default: by scheme, 14 or 8), or fc6=6,fc7=3"
    )
    bits.add_argument("--bits-fc", type=int, help="ristretto: bits of dense layers' weights")
    bits.add_argument("--bits-image", type=int, default=9, help="bits of the signed image")
    bits.add_argument("--bits-acc", help="accumulator bits, exact, or conv1=24,... (by scheme)")
    bits.add_argument("--acc-overflow", default="sat", help="sat, sat-sym or wrap")
    bits.add_argument("--acc-every-mac", action="store_true", help="saturate after every MAC")
    bits.add_argument(
        "--acc-rounding", default="ties-even", help="of sums with fewer fraction bits"
    )
    bits.add_argument("--rounding", default="ties-even", help="rounding of activations")
    bits.add_argument("--overflow", default="sat", help="overflow of activations")
    bits.add_argument("--assign", default="nearest", help="enq, knq: nearest or floor")
    bits.add_argument("--qm", default="layer", help="enq: q_m for each layer, or global")
    bits.add_argument("--kmeans", default="exact", help=f"knq: {', '.join(KMEANS)}")
    bits.add_argument(
        "--kmeans-iterations", type=int, default=100, help="knq: at most so many of Lloyd's"
    )
    bits.add_argument(
        "--no-saturate", action="store_true", help="knq: cluster values beyond 12 bits, too"
    )
    bits.add_argument("--coverage", type=float, default=0.999, help="share that formats cover")
    bits.add_argument("--distribution", default="fit", help="clnq: that of all values, or fit")
    bits.add_argument("--allocate", default="activations", help="clnq: activations or all")
    bits.add_argument("--kappa", type=float, default=5.0, help="clnq: dB that a bit gains")
    bits.add_argument("--numbers", default="fixed", help=f"ristretto: {', '.join(NUMBERS)}")
    bits.add_argument("--device", default="cpu", help="ristretto: its code for cpu or gpu")
    bits.add_argument("--mode", default="weights_rounded", help=f"tensorflow: {', '.join(MODES)}")
    bits.add_argument(
        "--seed",
        type=int,
        default=0,
        help="for stochastic rounding, and starts of lloyd-random and lloyd++",
    )
    hybrid_arguments.add(out)
    found = out.add_argument_group("search")
    found.add_argument("--delta", type=float, help="search the fewest bits within so many points")
    found.add_argument("--metric", default="top1", choices=("top1", "top5"), help="for --delta")
    found.add_argument("--search", choices=search.STRATEGIES, help="how (default: by scheme)")
    found.add_argument(
        "--objective", default="memory", choices=tuple(search.OBJECTIVES), help="to minimise"
    )
    found.add_argument("--search-bits", help="widths LEAST-MOST (default: by scheme)")
    found.add_argument("--search-images", type=int, help="images (default: those of --calibrate)")
    found.add_argument(
        "--confidence", type=float, default=0.999, help="of giving up a candidate; 1: certainty"
    )
    found.add_argument("--search-memory", type=int, default=1024, help="MiB of activations kept")
    found.add_argument("--step", type=float, default=0.05, help="energy: of the threshold")
    found.add_argument("--journal", help="file that a search resumes from")
    files = out.add_argument_group("files")
    files.add_argument("--plan", help="use this plan instead of a scheme")
    files.add_argument("--save-plan", help="write the plan as JSON")
    return files


HYBRID_ALONE = (
    *hybrid_arguments.SHARED,
    *hybrid_arguments.LOW,
    *hybrid_arguments.ENERGY,
    *hybrid_arguments.CLUSTERED,
)
# options that a plan already answers
IN_PLAN = (
    "scheme",
    "bits_act",
    "frac_act",
    "bits_wt",
    "bits_image",
    "bits_acc",
    "acc_overflow",
    "acc_every_mac",
    "acc_rounding",
    "rounding",
    "overflow",
    "assign",
    "qm",
    "kmeans",
    "kmeans_iterations",
    "no_saturate",
    "coverage",
    "distribution",
    "allocate",
    "kappa",
    *HYBRID_ALONE,
    "bits_fc",
    "numbers",
    "device",
    "mode",
    "delta",
    "seed",
)


# options that only a search reads
IN_SEARCH = (
    "metric",
    "search",
    "objective",
    "search_bits",
    "search_images",
    "confidence",
    "search_memory",
    "step",
    "journal",
)


HYBRID = ("hybrid", "energy", "clustered")
KNQ_ALONE = ("kmeans", "kmeans_iterations", "no_saturate")
CLNQ_ALONE = ("distribution", "allocate", "kappa")
RISTRETTO_ALONE = ("bits_fc", "numbers", "device")
SIMULATED_ALONE = (*RISTRETTO_ALONE, "mode")
# what activations of paper A have and those of paper B have not
PAPER_A = ("frac_act", "bits_image", "assign", "qm", *KNQ_ALONE, *CLNQ_ALONE, *SIMULATED_ALONE)
# what paper A's schemes do not read
PAPER_B = (*HYBRID_ALONE, *SIMULATED_ALONE)
# what float32 simulations by another's rules leave no choice of
INTEGERS_ALONE = (
    "frac_act",
    "bits_image",
    "bits_acc",
    "acc_overflow",
    "acc_every_mac",
    "acc_rounding",
    "rounding",
    "overflow",
    "assign",
    "qm",
    *KNQ_ALONE,
    *CLNQ_ALONE,
    *HYBRID_ALONE,
    "coverage",
)
# options of numbers that a scheme does not read
UNREAD = {
    "float": IN_PLAN[1:],
    "uniform": ("assign", "qm", *KNQ_ALONE, *CLNQ_ALONE, *PAPER_B),
    "enq": (*KNQ_ALONE, *CLNQ_ALONE, *PAPER_B),
    "knq": ("qm", *CLNQ_ALONE, *PAPER_B),
    "clnq": ("frac_act", "assign", "qm", *KNQ_ALONE, "coverage", *PAPER_B),
    "hybrid": (
        *PAPER_A,
        *hybrid_arguments.LOW,
        *hybrid_arguments.ENERGY,
        *hybrid_arguments.CLUSTERED,
    ),
    "energy": (*PAPER_A, "granularity", *hybrid_arguments.CLUSTERED),
    "clustered": (*PAPER_A, *hybrid_arguments.ENERGY),
    "ristretto": (*INTEGERS_ALONE, "mode"),
    "tensorflow": (*INTEGERS_ALONE, *RISTRETTO_ALONE, "seed"),
}


def check_options(arguments: argparse.Namespace) -> None:
    """Raises OptionError for options that contradict each other, before any work is done."""
    json_file = None if arguments.json == "-" else arguments.json
    writing.check_writable(
        json_file, arguments.save_plan, arguments.save_outputs, arguments.journal
    )
    schemes.find(arguments.scheme or "float")
    defaults = parser()
    if arguments.delta is None:
        given = [key for key in IN_SEARCH if getattr(arguments, key) != defaults.get_default(key)]
        if given:
            names = ", ".join("--" + key.replace("_", "-") for key in given)
            raise OptionError(f"{names} without --delta", "--delta, which asks for a search")
    if arguments.plan:
        given = [key for key in IN_PLAN if getattr(arguments, key) != defaults.get_default(key)]
        if given:
            names = ", ".join("--" + key.replace("_", "-") for key in given)
            raise OptionError(f"--plan with {names}", "one or the other: a plan fixes all numbers")
    else:
        name = arguments.scheme or "float"
        if arguments.save_plan and name == "float":
            raise OptionError("--save-plan with scheme float", "a scheme that makes a plan")
        unread = UNREAD.get(name, ())
        given = [key for key in unread if getattr(arguments, key) != defaults.get_default(key)]
        if given:
            names = ", ".join("--" + key.replace("_", "-") for key in given)
            raise OptionError(f"{names} with scheme {name}", "a scheme that reads them")
        if arguments.delta is not None and arguments.bits_act is not None:
            raise OptionError(
                "--delta with --bits-act", "one or the other: a search finds the bits"
            )
    if arguments.kmeans == "exact" and arguments.kmeans_iterations != defaults.get_default(
        "kmeans_iterations"
    ):
        raise OptionError("--kmeans-iterations with --kmeans exact", "one of Lloyd's with it")
    if arguments.float_data and (arguments.bits_act is not None or arguments.unsigned):
        raise OptionError("--float-data with --bits-act or --unsigned", "one or the other")
    if arguments.bits_acc == "exact" and arguments.acc_frac != "products":
        raise OptionError(
            f"--bits-acc exact with --acc-frac {arguments.acc_frac}", "a number of bits with it"
        )
    how = arguments.acc_every_mac, arguments.acc_overflow, arguments.acc_rounding
    if arguments.bits_acc in (None, "exact") and how != (False, "sat", "ties-even"):
        raise OptionError(
            "--acc-every-mac, --acc-overflow or --acc-rounding alone", "--bits-acc with them"
        )


def scheme_options(
    arguments: argparse.Namespace, network: Network, preprocessing: Preprocessing
) -> schemes.Options:
    """The options that the command line gives a scheme."""
    bits, widths = parse_bits(arguments.bits_act, network)
    layers = [node.name for node in network.weighted]
    bits_wt, _ = hybrid_arguments.per_layer("--bits-wt", arguments.bits_wt, layers, int)
    hybrid = hybrid_arguments.hybrid_options(arguments, network)
    if (hybrid.weight_bits or hybrid.accumulator_bits) and arguments.scheme not in HYBRID:
        raise OptionError(
            f"--bits-wt or --bits-acc by layer with scheme {arguments.scheme}", " or ".join(HYBRID)
        )
    if arguments.delta is not None and not 0 <= arguments.delta <= 100:
        raise OptionError(f"--delta {arguments.delta}", "0 to 100 percentage points")
    if not 0 <= arguments.seed < 2**31:
        raise OptionError(f"--seed {arguments.seed}", "0 to 2147483647")
    return schemes.Options(
        bits_act=bits,
        widths=widths,
        frac_act=_frac_bits(arguments.frac_act),
        bits_wt=bits_wt,
        bits_fc=arguments.bits_fc,
        bits_image=arguments.bits_image,
        accumulator=hybrid_arguments.accumulator(arguments, network),
        rounding=parse_rounding(arguments.rounding),
        overflow=parse_overflow(arguments.overflow),
        assign=arguments.assign,
        qm=arguments.qm,
        kmeans=arguments.kmeans,
        kmeans_iterations=arguments.kmeans_iterations,
        saturate=not arguments.no_saturate,
        coverage=arguments.coverage,
        distribution=arguments.distribution,
        allocate=arguments.allocate,
        kappa=arguments.kappa,
        numbers=arguments.numbers,
        device=arguments.device,
        mode=arguments.mode,
        seed=arguments.seed,
        image_bounds=preprocessing.bounds,
        image_integral=preprocessing.integral,
        hybrid=hybrid,
    )


def search_settings(
    arguments: argparse.Namespace, scheme: ModuleType, calibration: Sequence[int], at_once: int
) -> search.Settings:
    """What the command line asks of a search.

    calibration: images that formats are chosen on, and images there are.
    """
    if not hasattr(scheme, "SEARCHED"):
        able = [name for name in schemes.known() if hasattr(schemes.find(name), "SEARCHED")]
        raise OptionError(f"--delta with scheme {arguments.scheme}", " or ".join(able))
    strategy = arguments.search or scheme.SEARCH
    ranged = isinstance(scheme.SEARCHED, range)
    able = list(search.WIDTHS if ranged else scheme.SEARCHED)
    if strategy not in able:
        raise OptionError(f"--search {strategy} with scheme {arguments.scheme}", " or ".join(able))
    unread = [] if ranged else ["search_bits"]
    if strategy == "halving":
        unread += ["bits_wt", "bits_fc"]
    given = [key for key in unread if getattr(arguments, key) is not None]
    if given:
        names = ", ".join("--" + key.replace("_", "-") for key in given)
        raise OptionError(
            f"{names} with --search {strategy}", "another search: this one finds its own bits"
        )
    if not ranged and arguments.objective != "memory":
        raise OptionError(f"--objective with --search {strategy}", "none: it has its own")
    if strategy in search.TUNED and arguments.confidence != parser().get_default("confidence"):
        raise OptionError(f"--confidence with --search {strategy}", "none: it gives up nothing")
    if not 0 < arguments.step < 1e6:
        raise OptionError(f"--step {arguments.step}", "a positive number of mean energies")
    images = calibration[0] if arguments.search_images is None else arguments.search_images
    if not 1 <= images <= calibration[1]:
        raise OptionError(f"--search-images {images}", f"1 to {calibration[1]}")
    if not 0.5 <= arguments.confidence <= 1:
        raise OptionError(f"--confidence {arguments.confidence}", "0.5 to 1")
    if arguments.search_memory < 0:
        raise OptionError(f"--search-memory {arguments.search_memory}", "0 or more MiB")
    return search.Settings(
        delta=arguments.delta,
        widths=_range(arguments.search_bits, scheme.SEARCHED) if ranged else range(0),
        images=images,
        metric=arguments.metric,
        strategy=strategy,
        objective=arguments.objective,
        confidence=arguments.confidence,
        seed=arguments.seed,
        at_once=at_once,
        budget=arguments.search_memory << 20,
        journal=arguments.journal,
        step=arguments.step,
    )


def _range(text: str | None, default: range) -> range:
    """`1-8`, least and greatest."""
    if text is None:
        return default
    least, dash, most = text.partition("-")
    if dash and least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most) <= 24:
        return range(int(least), int(most) + 1)
    raise OptionError(f"--search-bits {text}", "LEAST-MOST within 1-24, such as 1-8")


def _frac_bits(given: int | None) -> int | None:
    if given is not None and not -32 <= given <= 32:
        raise OptionError(f"--frac-act {given}", "-32 to 32")
    return given


def parse_bits(text: str | None, network: Network) -> tuple[int | None, dict[str, int]]:
    """`5`, or a list for all weighted layers in order `8,4,5,...`, or `fc6=6,fc7=3`."""
    names = list(dict.fromkeys(p.width_of for p in storage_points(network) if p.readers))
    return hybrid_arguments.per_layer("--bits-act", text, names, int)
