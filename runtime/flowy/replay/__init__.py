"""Replay: workflow code run over its history, once, to one decision."""
