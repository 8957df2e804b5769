"""Exports of runs to other tools and imports from them, one module per format. No torch, no UI."""
