"""Statistics of paired comparisons. Numbers in, numbers out: what they mean is not known here."""

from lem.stats.bootstrap import bca, bootstrap_t
from lem.stats.correlation import Correlation, spearman
from lem.stats.equivalence import Gate, equivalence, non_inferiority
from lem.stats.length import LengthAdjusted, length_adjusted
from lem.stats.letters import compact_letters
from lem.stats.multiplicity import benjamini_hochberg, holm
from lem.stats.noise import noise_floor, within_noise
from lem.stats.paired import PairedEffect, paired_effect
from lem.stats.pooling import (
    EstimatePooling,
    GroupPooling,
    PooledGroup,
    pool_estimates,
    pool_groups,
)
from lem.stats.power import detectable, power_paired, probes_needed
from lem.stats.proportions import wilson
from lem.stats.ranking import RankedSystem, Ranking, rank_systems
from lem.stats.values import mean_by
from lem.stats.variance import VarianceSplit, error_of_mean, variance_split
from lem.stats.welch import Unpaired, unpaired

__all__ = [
    "Correlation",
    "EstimatePooling",
    "Gate",
    "GroupPooling",
    "LengthAdjusted",
    "PairedEffect",
    "PooledGroup",
    "RankedSystem",
    "Ranking",
    "Unpaired",
    "VarianceSplit",
    "bca",
    "benjamini_hochberg",
    "bootstrap_t",
    "compact_letters",
    "detectable",
    "equivalence",
    "error_of_mean",
    "holm",
    "length_adjusted",
    "mean_by",
    "noise_floor",
    "non_inferiority",
    "paired_effect",
    "pool_estimates",
    "pool_groups",
    "power_paired",
    "probes_needed",
    "rank_systems",
    "spearman",
    "unpaired",
    "variance_split",
    "wilson",
    "within_noise",
]
