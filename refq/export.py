"""`python -m refq.export NETWORK --scheme SCHEME --out DIR`: every integer, for others."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refq import writing
from refq.cli import console
from refq.cli.arguments import add_plan, check_options
from refq.data import digest
from refq.engine.forward import quantize_weights
from refq.errors import OptionError, unknown
from refq.evaluate import Inputs, bar, choose_plan, open_inputs
from refq.hardware import c_model, rtl
from refq.hardware.files import file_format, file_formats
from refq.hardware.files.layouts import LAYOUTS, NCHW, Layout
from refq.hardware.files.words import HIGH_FIRST, LITTLE, LOW_FIRST, Packing
from refq.hardware.golden.agreement import DisagreementError
from refq.hardware.golden.arrays import STAGES, TENSOR
from refq.hardware.golden.form import Form
from refq.hardware.golden.manifest import Manifest
from refq.hardware.golden.parameters import PARAMETERS
from refq.hardware.golden.span import span
from refq.hardware.golden.writing import Subject, check_room, write
from refq.plans.plan import INTEGER
from refq.results.evaluation import versions

MOST_BYTES = 4_000_000_000
# each stands for all stages of a kind
GROUPS = ("parameters", "tensors")
# what the C model reads
C_FORM = Form("raw", Layout(NCHW), Packing(byte_order=LITTLE))


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        "refq.export",
        allow_abbrev=False,
        description="Every integer of a network under a plan: vectors, Verilog units, a C model.",
    )
    own = out.add_argument_group("what is written, each to a new folder")
    own.add_argument("--out", help="a golden set")
    own.add_argument("--rtl", help="conversion units and a MAC in Verilog, with benches")
    own.add_argument("--c-model", help="the layers in C99, with their vectors")
    own.add_argument("--layers", help="such as conv1_2:conv3_1 or conv1_1,fc8 (default: all)")
    own.add_argument("--max-bytes", type=int, default=MOST_BYTES, help="refuse to write more")
    form = out.add_argument_group("how a golden set is written")
    form.add_argument("--stages", help=f"of {', '.join((*GROUPS, *STAGES))}, weight, ...")
    form.add_argument("--format", default="npy", help=", ".join(file_formats()))
    form.add_argument("--layout", default="NCHW", help=", ".join(LAYOUTS))
    form.add_argument("--tile", type=int, default=16, help="channels of a tile")
    form.add_argument("--lanes", type=int, default=1, help="words in a line of text")
    form.add_argument("--lane-order", default=LOW_FIRST, help=f"{LOW_FIRST} or {HIGH_FIRST}")
    form.add_argument("--byte-order", help="little or big (default: by format)")
    files = add_plan(out)
    files.add_argument("--json", help="write the golden set's manifest there too, - for stdout")
    out.set_defaults(images=1, ops="kernels", save_outputs=None)
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(_main, parser(), arguments)


def _main(arguments: argparse.Namespace) -> int:
    check_options(arguments)
    form = _form(arguments)
    folders = [path for path in (arguments.out, arguments.rtl, arguments.c_model) if path]
    if not folders:
        raise OptionError("nothing to write", "--out DIR, --rtl DIR or --c-model DIR")
    if arguments.json and not arguments.out:
        raise OptionError("--json without --out", "--out DIR, whose manifest it is")
    for path in folders:
        writing.check_new_folder(path)
    if len({Path(path).absolute() for path in folders}) < len(folders):
        raise OptionError(f"one folder for two: {', '.join(folders)}", "a folder for each")
    stages = _stages(arguments.stages)
    inputs = open_inputs(arguments)
    subject = _subject(arguments, inputs, span(inputs.network, arguments.layers), stages)
    if arguments.save_plan:
        writing.write_json(arguments.save_plan, subject.plan.to_json())
    told = []
    try:
        # folders appear when the last of them is done
        with contextlib.ExitStack() as stack:
            new = {path: stack.enter_context(writing.new_folder(path)) for path in folders}
            if arguments.rtl:
                told.append(_rtl(new[arguments.rtl], arguments.rtl, inputs, subject))
            if arguments.c_model:
                told.append(_c_model(new[arguments.c_model], arguments, inputs, subject))
            if arguments.out:
                manifest, seconds = _filled(new[arguments.out], arguments, inputs, subject, form)
                told.append(_told(arguments.out, manifest, seconds))
        if arguments.json == "-":
            console.tell(json.dumps(manifest.to_json(), indent=1, allow_nan=False))
        elif arguments.json:
            writing.write_json(arguments.json, manifest.to_json())
    except DisagreementError as error:
        print(f"refq: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; no folder was written by halves") from None
    if arguments.json != "-":
        console.tell(*told)
    return 0


def _filled(
    folder: Path, arguments: argparse.Namespace, inputs: Inputs, subject: Subject, form: Form
) -> tuple[Manifest, float]:
    """A golden set in a folder: (its manifest, seconds of writing)."""
    if not subject.listed:
        raise OptionError("nothing to export", "--layers and --stages that the plan has")
    check_room(folder, subject.listed, form, arguments.max_bytes)
    batches = (images for images, _ in inputs.test_batches())
    with bar(subject.images, "export") as progress:
        return write(folder, subject, form, batches, _about(inputs), progress.update)


def _c_model(folder: Path, arguments: argparse.Namespace, inputs: Inputs, subject: Subject) -> str:
    if subject.stages is not None:
        raise OptionError("--stages with --c-model", "all of them: the model checks each")
    vectors = folder / c_model.VECTORS
    vectors.mkdir()
    manifest, _ = _filled(vectors, arguments, inputs, subject, C_FORM)
    c_model.write(folder, manifest.to_json())
    count = sum(array.kind == TENSOR for array in manifest.arrays)
    return f"a C model and {count} tensors to check it in {arguments.c_model}: make check"


def _rtl(folder: Path, path: str, inputs: Inputs, subject: Subject) -> str:
    images, _ = next(iter(inputs.test_batches()))
    rtl.write(folder, subject.network, subject.coded, subject.plan, images[:1], subject.chosen)
    return f"Verilog units and self-checking benches in {path}: make"


def _form(arguments: argparse.Namespace) -> Form:
    module = file_format(arguments.format)
    layout = Layout(arguments.layout, arguments.tile)
    packing = Packing(
        arguments.lanes, arguments.lane_order, arguments.byte_order or module.BYTE_ORDER
    )
    if not module.TEXT and (arguments.lanes != 1 or arguments.lane_order != LOW_FIRST):
        raise OptionError(f"--lanes or --lane-order with {arguments.format}", "a format of text")
    if arguments.max_bytes < 1:
        raise OptionError(f"--max-bytes {arguments.max_bytes}", "1 or more")
    return Form(arguments.format, layout, packing)


def _stages(text: str | None) -> frozenset[str] | None:
    """Stages that are asked for; None for all."""
    if text is None:
        return None
    known = (*GROUPS, *STAGES, *PARAMETERS)
    asked = [part.strip() for part in text.split(",")]
    for name in asked:
        if name not in known:
            raise unknown("stage", name, known)
    return frozenset(asked)


def _subject(
    arguments: argparse.Namespace,
    inputs: Inputs,
    chosen: tuple[str, ...],
    stages: frozenset[str] | None,
) -> Subject:
    _, plan, _, _ = choose_plan(arguments, inputs)
    if plan is None or plan.arithmetic != INTEGER:
        raise OptionError(
            f"scheme {plan.scheme if plan else 'float'}, which computes in float32",
            "a scheme of integers, such as --scheme enq",
        )
    own = quantize_weights(inputs.network, inputs.weights, plan)
    return Subject(
        inputs.network,
        inputs.weights,
        own,
        plan,
        chosen,
        stages,
        inputs.stop - inputs.start,
        inputs.start,
    )


def _about(inputs: Inputs) -> dict[str, Any]:
    """What the manifest says of weights, images and versions."""
    labels = inputs.dataset.labels
    return {
        "weights": {"source": inputs.source, "sha256": inputs.weights.sha256},
        "images": {
            "count": inputs.stop - inputs.start,
            "first": inputs.start,
            "labels": None if labels is None else labels[inputs.start : inputs.stop].tolist(),
            "data": inputs.dataset.name,
            "sha256": digest(inputs.dataset, inputs.stop),
            "preprocessing": str(inputs.preprocessing),
        },
        "versions": versions(),
    }


def _told(out: str, manifest: Manifest, seconds: float) -> str:
    """What a person wants to know of a set that was written."""
    plan, form, images = manifest.plan, manifest.form, manifest.about["images"]
    total = sum(file.bytes for file in manifest.files.values())
    tensors = sum(array.kind == TENSOR for array in manifest.arrays)
    packing = form.packing
    lanes = f", {packing.lanes} lanes {packing.lane_order}" if packing.lanes > 1 else ""
    return (
        f"{plan.network}, scheme {plan.scheme}, {images['count']} images of "
        f"{images['data']} from {images['first']}\n"
        "kernels, fused kernels and oracle agree on a sample of every layer\n"
        f"{tensors} tensors and {len(manifest.arrays) - tensors} parameters in "
        f"{len(manifest.files)} files of "
        f"{form.format}, {form.layout.name}, {packing.byte_order}-endian{lanes}\n"
        f"{total:,} bytes and manifest.json in {out}, "
        f"written in {seconds:.1f} s ({total / 1e6 / max(seconds, 1e-3):.0f} MB/s)"
    )


if __name__ == "__main__":
    sys.exit(main())
