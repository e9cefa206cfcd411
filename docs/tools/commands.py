"""The command line's page, made from the program itself at every build."""

from __future__ import annotations

import re
import sys
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from oneticket.cli.dispatch import application


class Commands(SphinxDirective):
    """Every command with its flags, as the program describes them."""

    def run(self) -> list[nodes.Node]:
        """The nodes of all that follows the program's own title."""
        self.env.note_reread()
        first = "\n.. _cyclopts-oneticket-"
        with mock.patch.object(sys, "argv", ["oneticket"]):  # else a usage has words of the program that runs: Sphinx
            text = application("all").generate_docs(output_format="rst")
        _, _, rest = text.partition(first)
        rest = re.sub(r"(oneticket \w+) \1\b", r"\1", rest)  # a usage of our own begins with the command's name too
        made = self.parse_text_to_nodes(first + rest, allow_section_headings=True)
        for link in [link for each in made for link in each.findall(nodes.reference)]:
            # reST makes a link of every URL, also of a form such as `file:///name`
            if not link.get("refuri", "https:").startswith(("https:", "http:")):
                link.replace_self(link.children)
        return made


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
