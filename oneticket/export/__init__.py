"""Tickets and networks for deployment, and what they cost there. May import floors 1 to 5."""

from oneticket.export.c import CLibrary
from oneticket.export.costs import measure
from oneticket.export.forms import export
from oneticket.export.verdict import sentence

__all__ = ["CLibrary", "export", "measure", "sentence"]
