"""A page on this machine that shows a run while it goes on, and can stop it. No TensorFlow."""

from __future__ import annotations

import base64
import itertools
import json
import math
import secrets
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import resize, size_for_long_side
from gatys_norm.web import server as web_server
from gatys_norm.web import templates
from gatys_norm.web.server import RefusedError, Reply, Request

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.files import StrPath
    from gatys_norm.transfer import Progress, TransferResult

TEMPLATE = "live.html.jinja"
SECONDS = 1.0  # at least, between two pictures and between two events of one viewer
SECONDS_TO_LEAVE = 2.0  # at most, for the viewers to be told that all is over
LONG_SIDE = 1024  # of the picture, at most
POINT_LIMIT = 500  # of a curve, about
SHOWN = ("size", "iteration", "iterations", "evaluations", "loss", "seconds", "seconds_left")
NOTHING: dict[str, Any] = {
    "status": "starting",
    "closed": False,
    "about": None,
    "progress": None,
    "rows": [],
    "coefficients": {},
    "image": None,
}
PAGE = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "frame-ancestors 'none'",  # which the page itself cannot say
    "Cross-Origin-Resource-Policy": "same-origin",
}
EVENTS = {"Content-Type": "text/event-stream", "Cross-Origin-Resource-Policy": "same-origin"}


class Preview(web_server.Server):
    """Shows a run to browsers on this machine.

    What is shown comes from `begin`, `update` and `end`, which cost next to nothing while nobody
    looks. Each viewer has a thread, which also turns the picture into a file.

    Attributes:
      stop_asked: a viewer wants the run to stop.

    Raises:
      OSError: when made with a port that cannot be had.
    """

    def __init__(self, port: int) -> None:
        self.stop_asked = False
        self._token = secrets.token_urlsafe()
        self._page = templates.environment().get_template(TEMPLATE).render().encode()
        self._changed = threading.Condition()
        self._state: dict[str, Any] = NOTHING
        self._viewers = 0
        self._next_image = 0.0
        self._encoding = threading.Lock()
        self._encoded: tuple[np.ndarray | None, str | None] = None, None
        super().__init__("127.0.0.1", port, "preview")
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def address(self) -> str:
        """Where browsers find the page."""
        return f"http://{self.server_name}:{self.server_port}/"

    def begin(self, output: StrPath, config: TransferConfig) -> None:
        """Show that a transfer begins; nothing of an earlier one stays."""
        about = {
            "output": Path(output).name,
            "content": Path(config.content).name,
            "styles": [Path(style).name for style in config.styles],
            "loss": config.loss,
            "sizes": config.size,
        }
        self._show(NOTHING | {"about": about})

    def update(self, progress: Progress) -> None:
        """Show how far a transfer is; takes its picture if someone looks and none was taken since.

        Args:
          progress: `transfer.Progress`, in the thread that it belongs to.
        """
        rows, coefficients = progress.history()
        changes = {
            "status": "running",
            "progress": {name: getattr(progress, name) for name in SHOWN},
            "rows": rows,
            "coefficients": self._state["coefficients"] | {progress.size: coefficients},
        }
        if self._viewers and time.monotonic() >= self._next_image:
            changes["image"] = progress.image()
            self._next_image = time.monotonic() + SECONDS
        self._show(changes)

    def end(self, result: TransferResult) -> None:
        """Show how a transfer ended."""
        record = result.record
        self._show({"status": record["status"], "rows": record["history"], "image": result.image})

    def close(self) -> None:
        """Tell the viewers that nothing more comes, and end."""
        with self._changed:
            self._show({"closed": True})
            self._changed.wait_for(lambda: not self._viewers, SECONDS_TO_LEAVE)
        self.shutdown()
        self.server_close()

    def _show(self, changes: Mapping[str, Any]) -> None:
        with self._changed:
            self._state = {**self._state, **changes}
            self._changed.notify_all()

    def reply(self, request: Request) -> Reply:
        """Give the page or the events that it shows, or take the wish to stop."""
        if request.path == "/":
            request.check_method("GET", "HEAD")
            return HTTPStatus.OK, PAGE, self._page
        if request.path == "/events":
            request.check_method("GET")
            return HTTPStatus.OK, EVENTS, self._events()
        if request.path == "/stop":
            request.check_method("POST")
            if not secrets.compare_digest(request.body, self._token.encode()):
                raise RefusedError(HTTPStatus.FORBIDDEN, "only the page may stop the run")
            self.stop_asked = True
            self._show({})
            return HTTPStatus.NO_CONTENT, {}, None
        raise RefusedError(HTTPStatus.NOT_FOUND, "not found")

    def _events(self) -> Generator[bytes, None, None]:
        """Yield what there is to show, again after each change, until nothing more comes."""
        with self._changed:
            self._viewers += 1
        image: object = self  # none that can be shown
        try:
            while True:
                state = self._state
                event = _described(state) | {"token": self._token, "stopping": self.stop_asked}
                if state["image"] is not image:
                    image = state["image"]
                    event["picture"] = self._picture(state["image"])
                yield f"retry: 2000\ndata: {json.dumps(event, allow_nan=False)}\n\n".encode()
                if state["closed"]:
                    return
                self._wait_for_another(state)
        finally:
            with self._changed:
                self._viewers -= 1
                self._changed.notify_all()

    def _wait_for_another(self, state: Mapping[str, Any]) -> None:
        """Wait until there is more to show than `state`, and until SECONDS are over."""
        with self._changed:
            self._changed.wait_for(lambda: self._state["closed"], SECONDS)
            self._changed.wait_for(lambda: self._state is not state)

    def _picture(self, image: np.ndarray | None) -> str | None:
        """Return a picture as the page takes it; made once for all viewers."""
        with self._encoding:
            if image is not self._encoded[0]:
                self._encoded = image, None if image is None else _data_address(image)
            return self._encoded[1]


def _data_address(image: np.ndarray) -> str:
    height, width, _ = image.shape
    long_side = min(LONG_SIDE, max(height, width))
    image = resize(image, *size_for_long_side(height, width, long_side))
    data = base64.b64encode(picture_io.encode_picture("preview.jpg", image)).decode()
    return f"data:image/jpeg;base64,{data}"


def _described(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a state, in values that JSON has."""
    progress = state["progress"]
    return {name: state[name] for name in ("status", "closed", "about")} | {
        "progress": progress and {name: _number(value) for name, value in progress.items()},
        "curves": curves(state["rows"], state["coefficients"]),
    }


def curves(
    rows: Sequence[Mapping[str, Any]], coefficients: Mapping[int, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Return the curves of a loss history, a part for each size.

    Args:
      rows: the history, as in a record.
      coefficients: {size: {term: coefficient}}; the terms of other sizes are left out.

    Returns:
      dicts of `size`; `iterations`, counted over all sizes; `loss`; and `terms`, {term: coefficient
      · squared distance}. A history that is long is thinned out, what is not finite is None.
    """
    parts, before = [], 0
    step = max(1, len(rows) // POINT_LIMIT)
    for size, group in itertools.groupby(rows, key=lambda row: row["size"]):
        *earlier, last = group
        kept = [*earlier[::step], last]
        parts.append(
            {
                "size": size,
                "iterations": [before + row["iteration"] for row in kept],
                "loss": [_number(row["loss"]) for row in kept],
                "terms": {
                    term: [_number(factor * row[term]) for row in kept]
                    for term, factor in coefficients.get(size, {}).items()
                },
            }
        )
        before += last["iteration"]
    return parts


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
