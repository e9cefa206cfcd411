"""The user's browser, where there is one with windows: a text browser would take the terminal and make us wait."""

from __future__ import annotations

import webbrowser

TEXT = ("browsh", "carbonyl", "elinks", "links", "links2", "lynx", "w3m", "www-browser")
NO_BROWSER = "no browser with windows was found, so none was opened"


def graphical_browser() -> webbrowser.BaseBrowser | None:
    """The browser that Python would open a page in; None if there is none, or only one that runs in a terminal."""
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return None
    return None if getattr(found, "basename", "") in TEXT else found
