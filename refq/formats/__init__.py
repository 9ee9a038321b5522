"""Number formats and storage codes: data and their bounds, no arithmetic on arrays."""
