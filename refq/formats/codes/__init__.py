"""Storage codes: how a value code is kept in fewer bits (paper A, section III-A).

A code is one file of this folder with one kind of StorageCode.
"""

from __future__ import annotations

import importlib
import pkgutil

from refq.formats.codes.codebook import Codebook
from refq.formats.codes.plain import Plain
from refq.formats.codes.shift import ShiftCode
from refq.formats.codes.storage import StorageCode, known, of_fields

__all__ = ["Codebook", "Plain", "ShiftCode", "StorageCode", "known", "of_fields"]

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
