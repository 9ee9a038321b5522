"""refq: a framework-free NumPy/Numba reference implementation of CNN quantization."""

import os
import re
import sys

# Idle OpenMP threads must sleep: spinning, they would steal the cores from BLAS, which has
# threads of its own (measured: 30 times slower convolutions on two cores). Takes effect where
# OpenMP is not loaded yet, and a user's own setting wins.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"

# What packages read as they are imported, before a command could refuse it: the variable, what it
# may be, in words. Beyond these they end with a traceback, a signal, or LLVM's abort, or go on
# as if it were not set.
_NUMBER = r"[0-9]+(\.[0-9]*)?|\.[0-9]+"
_WHOLE = """
    ALWAYS_WARN_UNINIT_VAR BOUNDSCHECK DEBUG DEBUGINFO DEBUG_ARRAY_OPT DEBUG_ARRAY_OPT_RUNTIME
    DEBUG_ARRAY_OPT_STATS DEBUG_CACHE DEBUG_FRONTEND DEBUG_INLINE_CLOSURE DEBUG_JIT DEBUG_NRT
    DEBUG_NRT_STACK_LIMIT DEBUG_TYPEINFER DEVELOPER_MODE DIFF_IR DISABLE_INTEL_SVML DISABLE_JIT
    DISABLE_PERFORMANCE_WARNINGS DISABLE_TYPEINFER_FAIL_CACHE DUMP_ANNOTATION DUMP_ASSEMBLY
    DUMP_BYTECODE DUMP_CFG DUMP_FUNC_OPT DUMP_IR DUMP_LLVM DUMP_OPTIMIZED DUMP_SSA ENABLE_AVX
    ENABLE_PROFILING ENABLE_SYS_MONITORING EXTEND_VARIABLE_LIFETIMES FULL_TRACEBACKS
    FUNCTION_CACHE_SIZE HIGHLIGHT_DUMPS JIT_COVERAGE LLVM_PASS_TIMINGS LLVM_REFPRUNE_PASS
    LOOP_VECTORIZE NRT_STATS PARALLEL_DIAGNOSTICS PARFOR_MAX_TUPLE_SIZE SHOW_HELP SLP_VECTORIZE
    TRACE USE_LLVMLITE_MEMORY_MANAGER
"""
_VARIABLES = (
    ("NUMBA_NUM_THREADS", r"0*[1-9][0-9]{0,2}", "a number from 1 to 999"),
    ("NUMBA_CPU_FEATURES", r"|[+-][\w.-]+(,[+-][\w.-]+)*", "features such as +avx2,-fma"),
    ("NUMBA_OPT", r"[0-3]|max", "0 to 3 or max"),
    *((f"NUMBA_{name}", r"[+-]?[0-9]{1,18}", "a whole number") for name in _WHOLE.split()),
    *(
        (f"TQDM_{name}", _NUMBER, "a number")
        for name in ("MININTERVAL", "MAXINTERVAL", "MINITERS", "NCOLS", "NROWS", "SMOOTHING")
        + ("DELAY", "INITIAL", "POSITION", "TOTAL")
    ),
)


def _check_environment() -> None:
    for name, pattern, wanted in _VARIABLES:
        value = os.environ.get(name)
        if value is not None and not re.fullmatch(pattern, value):
            print(f"refq: {name}={value[:60]!r}; expected {wanted}, or unset it", file=sys.stderr)
            raise SystemExit(2)


_check_environment()
