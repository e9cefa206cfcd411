"""Beside the tower: tickets and networks for deployment, and what they cost there."""

from oneticket.export.c import CLibrary
from oneticket.export.costs import measure
from oneticket.export.forms import export
from oneticket.export.verdict import sentence

__all__ = ["CLibrary", "export", "measure", "sentence"]
