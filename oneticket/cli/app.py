"""The entry point: it imports nothing before it can tell of Ctrl-C, which may come while the rest is imported."""

INTERRUPTED = 130


def main(tokens: list[str] | None = None) -> None:
    """Run a command and exit with its code; Ctrl-C at any time is one line."""
    import sys

    try:
        from oneticket.cli.dispatch import run

        code = run(tokens)
    except KeyboardInterrupt:
        code = INTERRUPTED
        if sys.stderr is not None:
            sys.stderr.write("oneticket: interrupted; run the same command to go on\n")
    sys.exit(code)
