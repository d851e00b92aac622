"""Measurements on this machine, as ratios within one run. Run one with `python -m benchmarks.speed`."""
