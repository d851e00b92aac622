"""Generate text under interventions: one batch, many variants, streaming."""
