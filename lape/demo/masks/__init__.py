"""The Masks tab: what there is, uploads, comparisons, sharing."""
