"""`python -m platemark.cli` is the command `platemark`."""

from platemark.cli.main import main

if __name__ == "__main__":
    main()
