"""Files written whole or not at all, the metadata they carry, and the names they go by."""
