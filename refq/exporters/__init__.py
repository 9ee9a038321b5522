"""Arrays of codes as files, one module a format."""
