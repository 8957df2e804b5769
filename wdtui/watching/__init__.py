"""Watching a training loop that a script owns: its run in the store, and the commands that come through the store.

`watch.py` is what the loop calls. `recorder.py` does all that touches the store, in a thread of its own. `points.py`
measures, `ranks.py` keeps the processes of a distributed training in step, `description.py` says what the run is of.
"""
