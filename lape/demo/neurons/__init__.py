"""The Neurons tab: see them, choose them anew, look at each."""
