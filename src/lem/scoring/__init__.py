"""Scoring answers that exist already: read them, score them, sum them up, write the result.

`shapes` turns one line into answers, `sources` streams the lines of any number of inputs, `work`
scores (in one process or several), `summary` keeps running sums, `rows`, `sinks`, `tables` and
`explain` show the result. Nothing is held of an answer once it is written, so memory does not
grow with the input.

This file imports nothing: a scoring process loads only what it needs.
"""
