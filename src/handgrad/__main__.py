"""``python -m handgrad``."""

from handgrad.cli.main import main

main()
