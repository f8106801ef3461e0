"""Runs on this machine: a manifest whose activities are local processes or containers, or a factory and functions of modules."""
