"""What the answers show: the summary, its sentence, and how both are printed."""

from lem.report.summary import ArmSummary, Contrast, Summary, summarise
from lem.report.verdict import verdict

__all__ = ["ArmSummary", "Contrast", "Summary", "summarise", "verdict"]
