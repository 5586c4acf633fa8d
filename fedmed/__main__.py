"""`python -m fedmed` is the `fedmed` command."""

from fedmed.cli import main

if __name__ == "__main__":
    main()
