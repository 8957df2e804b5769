"""Questions and answers: experiments, their grids and branches, claims, verdicts, notes. No torch, no store."""
