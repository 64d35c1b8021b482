"""Plan, durable store, resume, manifest."""

from lem.runs.execute import run_plan
from lem.runs.manifest import move_aside, read_manifest, run_name, write_manifest
from lem.runs.plan import Plan, make_plan
from lem.runs.published import check_output, published_lines, write_published
from lem.runs.store import ResponseStore, read_responses

__all__ = [
    "Plan",
    "ResponseStore",
    "check_output",
    "make_plan",
    "move_aside",
    "published_lines",
    "read_manifest",
    "read_responses",
    "run_name",
    "run_plan",
    "write_manifest",
    "write_published",
]
