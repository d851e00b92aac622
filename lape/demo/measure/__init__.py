"""The Measure tab: what switching does, in figures, from evidence and live."""
