"""Shared-prefix attention: many answers to prompts that begin alike, with the beginning done once.

In an A/B every prompt of a condition begins with the same kernel. Its keys and values are computed
once and kept once; every row attends to them and to its own tokens, in one softmax over both. One
implementation serves every softmax-attention model of transformers, through its public hooks: no
modelling code is touched.

    jobs:  ``jobs.Job`` in, ``jobs.Done`` out
    loop:  `schedule.generate` - rows are filled, stepped, retired and refilled
    step:  `step.Step` - which tokens are computed, packed without any padding
    model: `hooks.forward` - one pass through the model; its attention and mask functions
    store: `store.Store` - keys and values: one copy a prefix, one strip a row
    maths: `attention` - of prompts, and of a decode step
    proof: `check.obstacle` - compares logits with plain attention before anything is answered
"""

from lem.engines.shared_prefix.check import obstacle
from lem.engines.shared_prefix.jobs import Done, Job
from lem.engines.shared_prefix.schedule import generate

__all__ = ["Done", "Job", "generate", "obstacle"]
