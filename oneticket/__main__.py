"""`python -m oneticket` is `oneticket`."""

from oneticket.cli.app import main

main()
