"""The store: runs, points, events, commands, sweeps and checkpoints, in one folder. SQLite is used only here."""
