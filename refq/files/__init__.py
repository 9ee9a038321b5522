"""Files that users give and get: read within bounds, written whole, never one over another."""
