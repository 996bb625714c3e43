"""The wizard: one page per file."""
