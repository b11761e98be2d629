"""``python -m icvos`` is the command line."""

from icvos.cli import main

if __name__ == "__main__":
    main()
