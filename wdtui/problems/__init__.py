"""The problems that can be trained: a declaration each, and the module that trains it."""
