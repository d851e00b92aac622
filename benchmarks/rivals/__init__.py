"""The same recording and the same steered generation, done with other libraries; `python -m benchmarks.rivals`."""
