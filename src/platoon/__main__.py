"""`python -m platoon`."""

from platoon.cli import main

main()
