"""The Language Confusion Benchmark: its prompts, the answers to them, and its pass rates."""
