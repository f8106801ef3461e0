"""The process that runs workflow code, and our side of it."""
