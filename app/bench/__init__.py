"""Measures the window: `python -m app.bench`. What a person waits for, one thing per file."""
