"""TensorFlow Lite's models of floats as operators."""

from __future__ import annotations

from pathlib import Path

from refq.errors import listed
from refq.importers.building import Value
from refq.importers.contents import refuse
from refq.importers.foreign import Asked, Foreign
from refq.importers.tflite import file, folding, kinds
from refq.importers.tflite.operation import Made, Operation
from refq.importers.tflite.schema import MAGIC

FORM = "TensorFlow Lite model"
ORDER = 1
# they run other graphs of the file
CALLING = {"CALL", "CALL_ONCE", "IF", "WHILE"}


def sniff(head: bytes, path: Path) -> bool:
    return head[4:8] == MAGIC


def read(path: Path, asked: Asked) -> Foreign:
    """Raises WeightsError, in one line, for what is damaged, quantized, or of several graphs."""
    model = file.opened(path)
    notes = _check_floats(model)
    made = Made(model, file.readers(model))
    inputs = {}
    for number in model.inputs:
        tensor = model.tensors[number]
        value = _input(made, tensor)
        made.values[number] = value
        sizes = [None if axis in tensor.open else size for axis, size in enumerate(tensor.shape)]
        inputs[value.name] = tuple(value.arranged(sizes))
        if value.turned:
            shape = inputs[value.name][1:]
            notes.append(f"input {value.name}: {list(shape)}, channels first, in the file last")
    for node in model.nodes:
        _enter(Operation(node, made))
    ends = [_end(made, model.tensors[number]) for number in model.outputs]
    turned = [value.name for value in ends if value.turned]
    if turned:
        notes.append(f"outputs with channels first, the file's last: {listed(turned)}")
    return Foreign(
        format=FORM,
        name=path.stem,
        operators=tuple(made.builder.operators),
        constants=made.builder.constants,
        inputs=inputs,
        outputs=tuple(dict.fromkeys(value.name for value in ends)),
        notes=tuple(notes),
    )


def _check_floats(model: file.Model) -> list[str]:
    """What a user should know of weights. Raises WeightsError that names the first operator which
    computes on quantized values."""
    stored: dict[int, str] = {}
    for node in model.nodes:
        for number in (*node.inputs, *node.outputs):
            if number < 0:
                continue
            tensor = model.tensors[number]
            scaled = tensor.scales > 0 and not tensor.kind.startswith(("float", "bfloat"))
            if tensor.constant and scaled:
                stored[number] = tensor.kind
            elif scaled or node.kind in ("QUANTIZE", "FAKE_QUANT"):
                name = model.tensors[node.outputs[0]].name if node.outputs else node.index
                raise refuse(
                    f"{name} ({node.kind}): a quantized model, with tensor {tensor}",
                    "a model of floats",
                    "convert it without quantization",
                )
    if not stored:
        return []
    kind = " and ".join(sorted(set(stored.values())))
    told = "read as floats; TensorFlow Lite would quantize what is multiplied with them too"
    return [f"weights of {len(stored)} operators are stored as {kind} with scales, {told}"]


def _input(made: Made, tensor: file.Tensor) -> Value:
    """Images come channels first, but where the model itself turns what it reads; signals too,
    which it reads as images of one row."""
    readers = made.readers.get(tensor.index, [])
    rank = len(tensor.shape)
    turned = rank == 4 and not (readers and all(each.kind == "TRANSPOSE" for each in readers))
    if rank == 3:
        turned = bool(readers) and all(_makes_row(made, tensor, each) for each in readers)
    name = made.builder.fresh(tensor.name or f"input {tensor.index}")
    return Value(name, rank, turned)


def _makes_row(made: Made, tensor: file.Tensor, node: file.Node) -> bool:
    """Whether an operator makes an image of one row or column of a signal, for a convolution."""
    if node.kind not in ("EXPAND_DIMS", "RESHAPE") or not node.outputs:
        return False
    shape = made.model.tensors[node.outputs[0]].shape
    length, channels = tensor.shape[1:]
    behind = made.readers.get(node.outputs[0], [])
    return shape[1:] in ((1, length, channels), (length, 1, channels)) and any(
        each.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") for each in behind
    )


def _enter(op: Operation) -> None:
    if op.node.kind in CALLING:
        graphs = op.made.model.subgraphs
        raise op.refuse(f"runs another of the file's {graphs} graphs", "a model of one graph")
    array = folding.folded(op)
    if array is not None:
        op.made.known[op.node.outputs[0]] = array
        return
    since = len(op.builder.operators)
    values = kinds.outputs(op)
    for number, value in zip(op.node.outputs, values):
        if number in op.made.values:
            raise op.refuse(f"makes {op.made.model.tensors[number]} again", "each tensor once")
        name = op.made.model.tensors[number].name
        op.made.makers[number] = op.node
        op.made.values[number] = op.builder.called(value, name, since) if name else value


def _end(made: Made, tensor: file.Tensor) -> Value:
    if tensor.index not in made.values:
        raise refuse(f"output {tensor}: nothing makes it", "an operator's output")
    return made.values[tensor.index]
