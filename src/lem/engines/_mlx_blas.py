"""A faster matrix product for mlx on the CPU of a Linux machine.

The wheel of mlx for Linux carries the reference BLAS: 2.5 billion operations a second on a core
where OpenBLAS does 90. A library that is loaded before mlx, with its names visible to all, takes
the place of that one. (PyTorch's own MKL would do as well, but its other names break llama.cpp.)
On Apple silicon there is nothing to do: mlx uses the GPU.
"""

from __future__ import annotations

import ctypes
import functools
import sys

_OPENBLAS = "libopenblas.so.0"


@functools.cache
def faster_blas() -> bool:
    """Let mlx multiply with the system's OpenBLAS, if there is one and mlx is not loaded yet.

    Returns:
        Whether mlx will be as fast here as it can be.
    """
    if sys.platform != "linux":
        return True
    if "mlx.core" in sys.modules:
        return False
    try:
        return hasattr(ctypes.CDLL(_OPENBLAS, mode=ctypes.RTLD_GLOBAL), "cblas_sgemm")
    except OSError:  # not installed, or without what it needs itself
        return False
