"""What was asked and what was answered: any number of runs and files as one table of scored
answers, with everything that must be known before their numbers are compared."""

from lem.study.load import SCORERS, load_study
from lem.study.records import Answer, Arm, Group, Model, ProbeText, Problem, Study

__all__ = [
    "SCORERS",
    "Answer",
    "Arm",
    "Group",
    "Model",
    "ProbeText",
    "Problem",
    "Study",
    "load_study",
]
