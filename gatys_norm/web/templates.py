"""The templates of the HTML pages, none of which loads anything from other servers."""

import base64
import hashlib
from pathlib import Path

import jinja2


def environment() -> jinja2.Environment:
    """Return the environment of the templates in this folder; it escapes every inserted value.

        page = environment().get_template("live.html.jinja").render()

    A name that a template uses and that was not given raises an error.
    """
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["source_hash"] = _source_hash
    return templates


def _source_hash(text: str) -> str:
    """Return the hash with which a Content-Security-Policy allows an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
