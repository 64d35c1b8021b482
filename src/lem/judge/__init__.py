"""A language model as judge: rubrics, blind prompts, strict verdicts, agreement.

from lem.engines import resolve
from lem.judge import judge, load_rubrics, read_material
judged = judge(read_material(Path("runs/NAME")), resolve("judge.gguf"), load_rubrics(["harm"]))
"""

from lem.judge.judging import Judged, Judgement, judge, read_judgements
from lem.judge.material import Answer, Material, read_material
from lem.judge.others import other_judges, read_labels
from lem.judge.rubrics import BUILT_IN, ON_REQUEST, Rubric, load_rubrics
from lem.judge.summary import Summary, summarise
from lem.judge.verdicts import UNSCORED, Verdict, read_verdict

__all__ = [
    "BUILT_IN",
    "ON_REQUEST",
    "UNSCORED",
    "Answer",
    "Judged",
    "Judgement",
    "Material",
    "Rubric",
    "Summary",
    "Verdict",
    "judge",
    "load_rubrics",
    "other_judges",
    "read_judgements",
    "read_labels",
    "read_material",
    "read_verdict",
    "summarise",
]
