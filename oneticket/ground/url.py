"""URLs as they may be shown or written down: without the password that one can hold."""

from __future__ import annotations

import re

HIDDEN = "***"


def without_password(text: str) -> str:
    """The text, with every password of a URL in it (`scheme://user:password@host`) replaced by three stars.

    >>> without_password("cannot read sftp://ann:s3cret@host/kept")
    'cannot read sftp://ann:***@host/kept'
    >>> without_password("s3://bucket/a:b@c")
    's3://bucket/a:b@c'
    """
    return _PASSWORD.sub(rf"\1{HIDDEN}@", text)


_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s]*@")
