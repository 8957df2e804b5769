"""Figures for papers and reports, drawn with matplotlib: pure functions from what was measured to a Figure.

No store, no files but the one that `writing.save` writes, no window: figures are made without pyplot. matplotlib is in
the extra `plot` and is imported only inside the functions that draw, so that all else works without it.
"""
