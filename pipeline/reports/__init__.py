"""Forms of a report beside the one for a terminal: a page by itself (html), tidy rows (csv)."""
