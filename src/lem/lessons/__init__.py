"""Lessons: what models are trained on. Sets, formats that trainers read, signing."""

from lem.lessons.formats import FORMATS, write_folder
from lem.lessons.load import BUILT_IN, card, load_lessons
from lem.lessons.sign import Signature, sign, signature, unsign

__all__ = [
    "BUILT_IN",
    "FORMATS",
    "Signature",
    "card",
    "load_lessons",
    "sign",
    "signature",
    "unsign",
    "write_folder",
]
