"""Whether a plan fits a network."""

from __future__ import annotations

from dataclasses import replace

from refq.errors import OptionError, listed
from refq.formats.fixed import Accumulator, FormatGrid, Overflow
from refq.formats.floats import OF_FLOAT, OF_TENSORS, ROUNDINGS, Affine, AffineGrid
from refq.networks import description
from refq.networks.graph import INPUT, Network
from refq.networks.points import carried_drops, keeps_maps, moves_codes, storage_points
from refq.plans.plan import FLOAT, INTEGER, Clustered, LayerPlan, Plan


def check(plan: Plan, network: Network) -> None:
    """Raises OptionError where a plan was made for another network or misses a tensor."""
    # a graph is the same under any name
    named = plan.network == network.name or description.described(network)
    if not named or dict(plan.parameters) != dict(network.parameters):
        raise OptionError(
            f"a plan for {plan.network} {dict(plan.parameters)}",
            f"{network.name} {dict(network.parameters)}",
        )
    if plan.arithmetic != INTEGER:
        return _check_simulation(plan, network)
    check_integers(plan)
    points = storage_points(network)
    tensors = {name for point in points for name in point.tensors}
    image = plan.tensors.get(INPUT)
    if image is not None and not image.fixed.signed:
        raise OptionError(f"a plan with an unsigned image, {image.format}", "a signed format")
    if image is not None and image.code:
        raise OptionError(f"a plan that stores the image by a {image.code.kind}", "its own codes")
    for point in points:
        entries = {
            replace(plan.tensors[name], drops=()) for name in point.tensors if name in plan.tensors
        }
        if len(entries) > 1:
            raise OptionError(
                f"a plan with {len(entries)} formats for {listed(point.tensors)}",
                "one common format",
            )
    layers = {node.name for node in network.weighted}
    for kind, wanted, got in (
        ("tensor", tensors, set(plan.tensors)),
        ("layer", layers, set(plan.layers)),
    ):
        wrong = sorted(wanted ^ got)
        if wrong:
            raise OptionError(
                f"a plan that misses or invents {kind} {listed(wrong)}",
                f"one entry for each {kind} of {network.name}",
            )
    for node in network.weighted:
        shape, group = network.weight_shapes()[node.name], node.layer.group
        _check_layer(plan.layers[node.name], shape, group, node.name)
    whole = {name for point in points if keeps_maps(network, point) for name in point.tensors}
    for name, entry in plan.tensors.items():
        expected = _expected_drops(plan, network, name) if name in whole else ()
        if entry.drops != expected:
            raise OptionError(
                f"a plan with {len(entry.drops)} formats of feature maps in {name}",
                "one for each map, as stored by the layers that make them",
            )


def _check_layer(entry: LayerPlan, shape: tuple[int, ...], group: int, name: str) -> None:
    """Raises OptionError for formats or accumulators of another number of kernels or filters."""
    weight, parts = entry.weight, [(entry.weight, shape[0])]
    if isinstance(weight, Clustered):
        parts = [(weight.base, max(weight.labels) + 1), (weight.residual, shape[0])]
        declared = entry.accumulator.bits, entry.accumulator.frac_bits
        if len(weight.labels) != shape[0] or any(isinstance(n, tuple) for n in declared):
            raise OptionError(
                f"a plan with {len(weight.labels)} clustered kernels in {name}",
                f"{shape[0]}, and one accumulator format for all",
            )
        # a group's base kernels read its channels alone, and groups have equally many
        bases = 1 + max(weight.labels)
        owner = [base * group // bases for base in weight.labels]
        if bases % group or owner != [o * group // shape[0] for o in range(shape[0])]:
            raise OptionError(
                f"a plan with {bases} base kernels across the {group} groups of {name}",
                "as many in each group, in the order of the groups",
            )
    for part, kernels in parts:
        wanted = ((kernels,), (kernels, shape[1])) if len(shape) == 4 else ()
        given = part.bits.shape if isinstance(part, FormatGrid) else None
        given = part.mean.shape if isinstance(part, AffineGrid) else given
        if given is not None and given not in wanted:
            raise OptionError(
                f"a plan with formats of shape {given} for {name}",
                "one for each kernel or filter of a convolution",
            )
    for numbers in (entry.accumulator.bits, entry.accumulator.frac_bits):
        if isinstance(numbers, tuple) and len(numbers) != shape[0]:
            raise OptionError(
                f"a plan with {len(numbers)} accumulators in {name}", f"{shape[0]}, one a kernel"
            )


def _expected_drops(plan: Plan, network: Network, name: str) -> tuple[int, ...]:
    """The formats of a tensor's feature maps: its own where it is made from sums, those of what it
    is moved from elsewhere; none of means, normalised values and the image."""
    node = network.by_name.get(name)
    if node is not None and moves_codes(network, node):
        known = {source: plan.tensors[source].drops for source in node.inputs}
        return carried_drops(network, node, known)
    drops = plan.tensors[name].drops
    summed = node is not None and node.layer.of_sums
    return drops if summed and len(drops) in (0, network.shapes[name][0]) else ()


def check_integers(plan: Plan) -> None:
    """Raises OptionError where a plan in integers has a format that is none of integers."""
    for name, entry in {**plan.layers, **plan.tensors}.items():
        keys = ("weight", "bias", "format")
        formats = [getattr(entry, key) for key in keys if hasattr(entry, key)]
        wrong = [fmt for fmt in formats if fmt is None or isinstance(fmt, OF_FLOAT)]
        if wrong:
            raise OptionError(
                f"{name} in {wrong[0] or 'float32'} in a plan of integers",
                "fixed point, or arithmetic float",
            )


def _check_simulation(plan: Plan, network: Network) -> None:
    """Raises OptionError where a float32 simulation of a network cannot obey a plan."""
    if plan.arithmetic != FLOAT:
        raise OptionError(f"a plan with arithmetic {plan.arithmetic}", "integer or float")
    tensors, layers = plan.tensors, plan.layers
    if plan.rounding not in ROUNDINGS or plan.overflow is not Overflow.SAT:
        raise OptionError(
            f"rounding {plan.rounding.value} and overflow {plan.overflow.value} in float32",
            "ties-even or ties-away, and sat",
        )
    invented = sorted(set(tensors) - set(network.shapes))
    if invented:
        raise OptionError(f"a plan that invents tensor {listed(invented)}", "the network's own")
    wrong = sorted(set(layers) ^ {node.name for node in network.weighted})
    if wrong:
        raise OptionError(
            f"a plan that misses or invents layer {listed(wrong)}",
            "one entry for each weighted layer",
        )
    for name, tensor in tensors.items():
        fmt = tensor.format
        zero = not isinstance(fmt, Affine) or (fmt.mean == 0.0 and fmt.first <= 0 <= fmt.last)
        if not isinstance(fmt, OF_TENSORS) or tensor.code or tensor.drops or not zero:
            raise OptionError(
                f"tensor {name} in {fmt}",
                "one fixed point, minifloat, or affine format with an exact zero; no storage code",
            )
    for node in network.weighted:
        entry = layers[node.name]
        if entry.accumulator != Accumulator():
            raise OptionError(
                f"layer {node.name} with a {entry.accumulator} accumulator in float32",
                "an exact one",
            )
        shape, group = network.weight_shapes()[node.name], node.layer.group
        _check_layer(entry, shape, group, node.name)
