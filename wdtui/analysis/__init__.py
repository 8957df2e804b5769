"""What a run came to: milestones, forecasts, summaries, tables of sweeps. Pure functions of configs and curves."""
