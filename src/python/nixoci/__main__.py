"""`python -m nixoci`."""

from nixoci.cli.main import console

if __name__ == "__main__":
    console()
