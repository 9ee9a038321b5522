"""A device's arrays beside the golden set's, and what went wrong where they differ."""
