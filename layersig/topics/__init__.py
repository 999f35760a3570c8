"""The topics of a report, one module or folder each: rows, how they are computed, the section that shows them.

`registry` lists them; `analyse` and `render` walk that list.
"""
