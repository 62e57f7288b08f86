"""`python -m aristobot` is the `aristobot` command."""

from aristobot.cli import main

main()
