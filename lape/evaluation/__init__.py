"""Measure what switching neurons does."""
