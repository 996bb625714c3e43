"""What several screens show, one widget per file."""
