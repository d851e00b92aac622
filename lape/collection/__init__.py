"""A whole collection by one plan: every model recorded, identified, measured and pushed, whatever happens between."""
