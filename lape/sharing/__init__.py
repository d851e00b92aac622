"""Share masks: their cards and pictures, what is sent, and the push to a collection on the Hub."""
