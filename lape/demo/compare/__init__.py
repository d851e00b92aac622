"""The Compare tab: one prompt, continued side by side."""
