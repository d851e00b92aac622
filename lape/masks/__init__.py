"""Masks: the value, where masks are found (bundled, pulled, on the Hub, released), and their calibration."""
