"""What a study shows: paired effects, what they may be put down to, and how sure that is."""

from lem.analysis.across import Pair
from lem.analysis.analyse import analyse
from lem.analysis.records import (
    FEW,
    Analysis,
    ArmStats,
    Contrast,
    Domains,
    Families,
    Finding,
    Ranked,
    Scale,
    ScorerAnalysis,
    StoredScores,
    Unit,
    Validity,
    Worst,
)

__all__ = [
    "FEW",
    "Analysis",
    "ArmStats",
    "Contrast",
    "Domains",
    "Families",
    "Finding",
    "Pair",
    "Ranked",
    "Scale",
    "ScorerAnalysis",
    "StoredScores",
    "Unit",
    "Validity",
    "Worst",
    "analyse",
]
