"""The window. It imports Qt and `backend.contract`, never torch: all heavy work is in other processes."""
