"""What a problem declares and a run records: hyperparameters, configs, metrics, curves and plans. No torch, no UI."""
