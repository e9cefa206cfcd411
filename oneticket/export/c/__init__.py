"""C programs of networks: layers, lowered from what torch traces, and written as loops over remaining weights."""

from oneticket.export.c.form import CForm, c_form, program_files
from oneticket.export.c.library import CLibrary, c_name
from oneticket.export.c.lower import lower
from oneticket.export.c.writer import write

__all__ = ["CForm", "CLibrary", "c_form", "c_name", "lower", "program_files", "write"]
