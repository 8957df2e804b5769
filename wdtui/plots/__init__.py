"""Charts in the terminal and figures for paper. Pure functions of curves and tables."""
