"""`python -m mnbatch` runs the command line from a checkout without an install."""

from mnbatch.cli import main

if __name__ == "__main__":
    main()
