"""Figures for papers and reports, drawn with matplotlib: pure functions from measurements to a Figure.

No store, no window, and no files except those of `writing.save`. Figures are created without pyplot. matplotlib is in
the extra `plot`. Only the functions that draw import it, so everything else works without it.
"""
