"""`python -m nixoci`."""

from nixoci.cli import console

if __name__ == "__main__":
    console()
