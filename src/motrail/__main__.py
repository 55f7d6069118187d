"""`python -m motrail`."""

from motrail.cli import main

if __name__ == "__main__":
    main()
