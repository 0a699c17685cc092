"""`python -m kat_workflow`: `kat`, where its script is not on the path."""

from kat_workflow.cli import main

main()
