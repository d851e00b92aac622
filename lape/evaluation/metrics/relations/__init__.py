"""Relation-specific neurons: questions with clear answers, and what becomes of the answers with neurons off."""
