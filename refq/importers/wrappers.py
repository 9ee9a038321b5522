"""Names of tensors without what models are wrapped in: DataParallel, torch.compile, others."""

from __future__ import annotations

from collections.abc import Sequence

from refq.importers.contents import DEEPEST

# of DataParallel, wherever it stands (PyTorch's ImageNet example has it at `features` alone), and
# of torch.compile
WRAPPERS = ("module", "_orig_mod")
# what torchvision's VGG, AlexNet and SqueezeNet call their trunks
TRUNK = "features"


def stripped(names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """(names, notes): those of torch's tensors without wrappers and without what begins all of
    them. Names without a dot stay."""
    parts = [name.split(".") for name in names]
    plain = [[part for part in each[:-1] if part not in WRAPPERS] + each[-1:] for each in parts]
    if len({".".join(each) for each in plain}) < len(names):
        plain = parts  # some differ in nothing else
    begun: list[str] = []
    for _ in range(DEEPEST):
        heads = {each[0] if len(each) > 2 else "" for each in plain if len(each) > 1}
        if len(heads) != 1 or heads & {"", TRUNK}:
            break
        begun += heads
        plain = [each[1:] if len(each) > 1 else each for each in plain]
    notes = (f"all names begin with {'.'.join(begun)}, which is left out here",) if begun else ()
    return [".".join(each) for each in plain], notes
