"""Templates → HTML pages that need nothing from elsewhere. No TensorFlow."""

import base64
import hashlib
from pathlib import Path

import jinja2


def environment() -> jinja2.Environment:
    """Return the environment of this folder's templates, which escapes what it puts into them."""
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
    """What a Content-Security-Policy names an inline script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
