"""The Find neurons tab: a mask from a visitor's own text."""
