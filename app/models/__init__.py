"""What screens show, worked out without widgets: one kind of thing per file, tested without a window."""
