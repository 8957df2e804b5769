"""What is drawn: in the terminal, and on paper. Pure functions of curves and tables."""
