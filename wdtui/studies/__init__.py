"""Experiments with their grids, branches, claims, verdicts and notes. No torch, no store."""
