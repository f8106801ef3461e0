"""Workflow code looked at without running it: what fails in the decider, and what does something else than it seems to."""
