"""The command line's page, made from the program itself at every build."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from oneticket.cli.dispatch import app as commands


class Commands(SphinxDirective):
    """Every command with its flags, as the program describes them."""

    def run(self) -> list[nodes.Node]:
        """The nodes of all that follows the program's own title."""
        self.env.note_reread()
        first = "\n.. _cyclopts-oneticket-"
        _, _, rest = commands.generate_docs(output_format="rst").partition(first)
        rest = re.sub(r"(oneticket \w+) \1\b", r"\1", rest)  # a usage of our own begins with the command's name too
        return self.parse_text_to_nodes(first + rest, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
