"""Statistics of paired comparisons. Numbers in, numbers out: what they mean is not known here."""

from lem.stats.paired import PairedEffect, holm, mean_by, paired_effect

__all__ = ["PairedEffect", "holm", "mean_by", "paired_effect"]
