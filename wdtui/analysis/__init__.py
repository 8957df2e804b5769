"""Results of runs: milestones, forecasts, summaries, tables of sweeps. Pure functions of configs and curves."""
