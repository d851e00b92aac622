"""Models: where each family keeps its activations, the presets, what this machine can hold, and how they are loaded."""
