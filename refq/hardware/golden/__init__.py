"""Golden sets: every integer of a network under a plan, for other implementations to be compared
with (docs/golden-vectors.md)."""
