"""Handing runs over to other tools and taking in what others measured: one short module per format. No torch, no UI."""
