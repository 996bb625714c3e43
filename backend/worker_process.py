"""A run's process, `python -m backend.worker_process PROJECT RUN`: `backend.worker`, imported as fast as may be."""

import faulthandler
import sys

from backend.importing import uncollected


def main() -> int:
    """Work on the run that the command line names; the exit status."""
    faulthandler.enable()  # what crashes in a library leaves its place in the log
    with uncollected():
        from backend import worker  # noqa: PLC0415
    return worker.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
