"""Decisions of the operator: no clock, no I/O, no logging; plain data in, plain data out."""
