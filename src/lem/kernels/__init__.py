"""Ethics kernels: the built-in LEK-1, any file of the user's own, and controls made from them."""

from lem.kernels.controls import ethics_words, one_line, placebo, shuffled
from lem.kernels.load import BUILT_IN, load_kernel, parse_kernel_option

__all__ = [
    "BUILT_IN",
    "ethics_words",
    "load_kernel",
    "one_line",
    "parse_kernel_option",
    "placebo",
    "shuffled",
]
