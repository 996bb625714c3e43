"""What the window, the command line and the worker agree on; free of torch and of Qt."""
