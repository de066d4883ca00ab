"""What a table is made of: steps, each with what it needs, a key of its content, and a folder.

A kind of step is one module with one frozen dataclass; `base.Step` says what it must have.
"""
