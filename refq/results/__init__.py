"""Results as JSON, text, tables, charts and a page."""
