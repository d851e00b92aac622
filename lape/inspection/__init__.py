"""Look at neurons: a text's activations, whose neurons fire at it, and tables of neurons."""
