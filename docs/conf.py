"""How the site is built: `make docs`. No network, no remote fonts or scripts; a warning is an error."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from sphinx.application import Sphinx

import oneticket

project = "oneticket"
version = release = oneticket.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
extensions += ["tools.docstrings", "tools.commands", "tools.complete", "tools.excerpts"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "oneticket"
html_show_copyright = False
html_show_sphinx = False
pygments_style = "default"
html_static_path = ["_static"]
html_css_files = ["cards.css", "notebooks.css", "narrow.css"]
html_js_files = ["narrow.js"]

default_role = "code"
smartquotes = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Notebooks run at every build, with this clone's code, in a folder that is gone after; a warning of theirs is an error.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 1200
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_output_stderr = "error"
nb_merge_streams = True
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
myst_url_schemes = {
    "http": None,
    "https": None,
    "gh": {"url": "https://github.com/{{path}}/issues/{{fragment}}", "title": "{{path}}#{{fragment}}"},
}

autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "model_config"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True


def setup(app: Sphinx) -> None:
    """The map of the code is linked from "About" and stands in no menu."""
    app.connect("env-updated", lambda _, env: env.metadata["floorplan"].update(orphan=True))
