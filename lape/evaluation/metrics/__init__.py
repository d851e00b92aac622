"""What measures: figures of a mask, each with its interval and its controls."""
