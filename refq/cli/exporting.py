"""An export, from what was asked to folders that appear together."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refq.cli import paths, reading, words
from refq.cli.command import Group, Option, Request
from refq.cli.inputs import Inputs, open_inputs, which_inputs
from refq.cli.planning import choose_plan
from refq.cli.progress import bar
from refq.data import digest
from refq.engine.forward import quantize_weights
from refq.errors import OptionError, unknown
from refq.files import writing
from refq.hardware import c_model, rtl
from refq.hardware.files import file_format
from refq.hardware.files.layouts import NCHW, Layout
from refq.hardware.files.words import LITTLE, LOW_FIRST, Packing
from refq.hardware.golden.arrays import STAGES, TENSOR
from refq.hardware.golden.form import Form
from refq.hardware.golden.manifest import Manifest
from refq.hardware.golden.parameters import PARAMETERS
from refq.hardware.golden.span import span
from refq.hardware.golden.writing import Subject, check_room, write
from refq.networks.extremes import naming_extremes
from refq.plans.plan import INTEGER
from refq.results.evaluation import versions
from refq.results.warnings import warnings

# each stands for all stages of a kind
KINDS = ("parameters", "tensors")
MOST_BYTES = 4_000_000_000
# what an export has beside an evaluation
WRITTEN = Group("what is written, each to a new folder")
GOLDEN = Group("how a golden set is written")
OPTIONS = (
    Option("--out DIR", WRITTEN, "a golden set", path=paths.FOLDER),
    Option(
        "--rtl DIR",
        WRITTEN,
        "conversion units and a MAC in Verilog, with benches",
        path=paths.FOLDER,
    ),
    Option("--c-model DIR", WRITTEN, "the layers in C99, with their vectors", path=paths.FOLDER),
    Option("--layers A,B:C", WRITTEN, "such as conv1_2:conv3_1,fc8 (default: all)"),
    Option("--max-bytes N", WRITTEN, "refuse to write more", MOST_BYTES),
    Option("--stages A,B", GOLDEN, f"of {', '.join((*KINDS, *STAGES))}, weight, ..."),
    *words.rows(GOLDEN, format="npy", layout=NCHW, tile=16, lanes=1, lane_order=LOW_FIRST),
)
# what the C model reads
C_FORM = Form("raw", Layout(NCHW), Packing(byte_order=LITTLE))


@dataclass(frozen=True)
class Exported:
    """The manifest of a golden set, None where none was written, and what a person is told."""

    manifest: Manifest | None
    told: list[str]


def export(asked: Request) -> Exported:
    """Writes the folders that were asked for. Raises DisagreementError where refq's ways of
    computing a layer differ, and no folder appears."""
    folders, form, stages = _folders(asked), _form(asked), _stages(asked.stages)
    reading.check(asked)
    inputs = open_inputs(which_inputs(asked))
    with naming_extremes(inputs.weights):
        subject = _subject(asked, inputs, stages)
    if asked.save_plan:
        writing.write_json(asked.save_plan, subject.plan.to_json())
    told, manifest = [], None
    try:
        # folders appear when the last of them is done
        with contextlib.ExitStack() as stack:
            new = {path: stack.enter_context(writing.new_folder(path)) for path in folders}
            if asked.rtl:
                told.append(_rtl(new[asked.rtl], asked.rtl, inputs, subject))
            if asked.c_model:
                told.append(_c_model(new[asked.c_model], asked, inputs, subject))
            if asked.out:
                manifest, seconds = _filled(new[asked.out], asked.max_bytes, inputs, subject, form)
                told.append(_told(asked.out, manifest, seconds))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; no folder was written by halves") from None
    lost = {name: layer.losses for name, layer in subject.coded.layers.items()}
    told += [f"WARNING: {line}" for line in warnings(subject.network, subject.plan, lost)]
    return Exported(manifest, told)


def _folders(asked: Request) -> list[str]:
    """The folders to write. Raises OptionError for what says nothing of them."""
    folders = [path for path in (asked.out, asked.rtl, asked.c_model) if path]
    if not folders:
        raise OptionError("nothing to write", "--out DIR, --rtl DIR or --c-model DIR")
    if asked.c_model and asked.stages is not None:
        raise OptionError("--stages with --c-model", "all of them: the model checks each")
    if not asked.out:
        asked.refuse(["json"], "without --out", "--out DIR, whose manifest it is")
        golden = [row.name for row in asked.rows if row.group == GOLDEN]
        asked.refuse(golden, "without --out", "--out DIR, which they are of")
        if not asked.c_model:
            asked.refuse(["images", "max_bytes"], "with --rtl alone", "--out or --c-model with it")
    for path in folders:
        writing.check_new_folder(path)
    return folders


def _form(asked: Request) -> Form:
    byte_order = asked.byte_order or file_format(asked.format).BYTE_ORDER
    layout = Layout(asked.layout, asked.tile)
    packing = Packing(asked.lanes, asked.lane_order, byte_order)
    words.check(asked, asked.layout, [asked.format], asked.lanes)
    if asked.max_bytes < 1:
        raise OptionError(f"--max-bytes {asked.max_bytes}", "1 or more")
    return Form(asked.format, layout, packing)


def _stages(text: str | None) -> frozenset[str] | None:
    """Stages that are asked for; None for all."""
    if text is None:
        return None
    known = (*KINDS, *STAGES, *PARAMETERS)
    asked = [part.strip() for part in text.split(",")]
    for name in asked:
        if name not in known:
            raise unknown("stage", name, known)
    return frozenset(asked)


def _subject(asked: Request, inputs: Inputs, stages: frozenset[str] | None) -> Subject:
    chosen = span(inputs.network, asked.layers)
    plan = choose_plan(asked, inputs).plan
    if plan is None or plan.arithmetic != INTEGER:
        raise OptionError(
            f"scheme {plan.scheme if plan else 'float'}, which computes in float32",
            "a scheme of integers, such as --scheme enq",
        )
    return Subject(
        inputs.network,
        inputs.weights,
        quantize_weights(inputs.network, inputs.weights, plan),
        plan,
        chosen,
        stages,
        inputs.images,
        inputs.start,
    )


def _filled(
    folder: Path, most: int, inputs: Inputs, subject: Subject, form: Form
) -> tuple[Manifest, float]:
    """A golden set in a folder: (its manifest, seconds of writing)."""
    if not subject.listed:
        raise OptionError("nothing to export", "--layers and --stages that the plan has")
    check_room(folder, subject.listed, form, most)
    images = (images for images, _ in inputs.test_batches())
    with bar(subject.images, "export") as progress:
        return write(folder, subject, form, images, _about(inputs), progress.update)


def _c_model(folder: Path, asked: Request, inputs: Inputs, subject: Subject) -> str:
    vectors = folder / c_model.VECTORS
    vectors.mkdir()
    manifest, _ = _filled(vectors, asked.max_bytes, inputs, subject, C_FORM)
    c_model.write(folder, manifest.to_json())
    count = sum(array.kind == TENSOR for array in manifest.arrays)
    return f"a C model and {count} tensors to check it in {asked.c_model}: make check"


def _rtl(folder: Path, path: str, inputs: Inputs, subject: Subject) -> str:
    images, _ = next(iter(inputs.test_batches()))
    rtl.write(folder, subject.network, subject.coded, subject.plan, images[:1], subject.chosen)
    return f"Verilog units and self-checking benches in {path}: make"


def _about(inputs: Inputs) -> dict[str, Any]:
    """What the manifest says of weights, images and versions."""
    labels = inputs.dataset.labels
    return {
        "weights": {"source": inputs.source, "sha256": inputs.weights.sha256},
        "images": {
            "count": inputs.images,
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
