"""What a row of a table needs, and how our number is read: one module for each kind of number.

A module has `plan(row, planner)`, which returns what is planned for the row (see `planned.Planned`)
or raises `planned.NotMadeError` with the reason why there is nothing of ours beside it. Which
module it is, the metric's `given_by` says (`registry`).
"""
