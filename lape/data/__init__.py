"""Data files of the package: sentence openings to steer."""
