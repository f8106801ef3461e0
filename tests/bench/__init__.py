"""Benchmarks on the embedded cluster: each figure beside what bare Jobs cost in the same run. Figures, no assertions."""
