"""A page on this machine that shows a run and can stop it. No TensorFlow."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import secrets
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import resize, size_for_long_side
from gatys_norm.record import HistoryRow, running_iterations, term_value
from gatys_norm.text import finite_or_none
from gatys_norm.web import server as web_server
from gatys_norm.web import templates
from gatys_norm.web.server import RefusedError, Reply, Request

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.files import StrPath
    from gatys_norm.transfer import Progress, TransferResult

TEMPLATE = "live.html.jinja"
SECONDS = 1.0  # at least, between two pictures and between two events of one viewer
SECONDS_TO_CLOSE = 2.0  # time limit for the viewers to receive the last event
LONG_SIDE = 1024  # of the picture, in pixels, at most
POINT_LIMIT = 500  # of a curve, about
PROGRESS_NAMES = (
    *("size", "iteration", "iterations", "evaluations", "loss", "seconds", "seconds_left"),
)
PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "frame-ancestors 'none'",  # a meta element cannot set this
    "Cross-Origin-Resource-Policy": "same-origin",
}
EVENT_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, eq=False)
class _State:
    """What the page shows. It is never changed; each change makes a new one.

    Attributes:
      status: "starting", "running", or the status with which the transfer ended.
      closed: whether this is the last state.
      about: names and settings of the transfer; None before the first one.
      progress: {name: number} of PROGRESS_NAMES.
      rows: the loss history.
      coefficients: {size: {term: coefficient}}.
      image: float32 H × W × 3, RGB, 0 to 255, not clipped.
    """

    status: str = "starting"
    closed: bool = False
    about: Mapping[str, Any] | None = None
    progress: Mapping[str, float] | None = None
    rows: Sequence[HistoryRow] = ()
    coefficients: Mapping[int, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    image: np.ndarray | None = None


class Preview(web_server.Server):
    """A server that shows a run to browsers on this machine.

        import contextlib

        from gatys_norm import TransferConfig, stylize

        config = TransferConfig(content="town.jpg", style="waves.jpg")
        with contextlib.closing(Preview(port=0)) as preview:
            print(preview.address)
            preview.start("out.png", config)
            preview.finish(stylize(config, preview.update))

    `start`, `update` and `finish` take almost no time while the page is not open in any browser.
    Each viewer has a thread, which also encodes the picture.

    Args:
      port: port to listen on; 0 for any free one.

    Attributes:
      stop_asked: whether a viewer has asked to stop the run.

    Raises:
      OSError: the port is not available.
    """

    def __init__(self, port: int) -> None:
        self.stop_asked = False
        self._token = secrets.token_urlsafe()
        self._page = templates.environment().get_template(TEMPLATE).render().encode()
        self._changed = threading.Condition()
        self._state = _State()
        self._viewers = 0
        self._next_image = 0.0
        self._encoding = threading.Lock()
        self._encoded: tuple[np.ndarray | None, str | None] = None, None
        super().__init__("127.0.0.1", port, "preview")
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def address(self) -> str:
        """The address of the page for a browser."""
        return f"http://{self.server_name}:{self.server_port}/"

    def start(self, output: StrPath, config: TransferConfig) -> None:
        """Show that a transfer starts, instead of an earlier one.

        Args:
          output: path of the picture that the transfer will write.
          config: settings of the transfer.
        """
        about = {
            "output": Path(output).name,
            "content": Path(config.content).name,
            "styles": [Path(style).name for style in config.style],
            "loss": config.loss,
            "sizes": config.size,
        }
        with self._changed:
            self._state = _State(about=about)
            self._changed.notify_all()

    def update(self, progress: Progress) -> None:
        """Show the progress of a transfer; must be called in the thread of the transfer.

        The picture is computed only while the page has viewers, at most once in SECONDS.
        """
        rows, coefficients = progress.history()
        changes: dict[str, Any] = {
            "status": "running",
            "progress": {name: getattr(progress, name) for name in PROGRESS_NAMES},
            "rows": rows,
            "coefficients": {**self._state.coefficients, progress.size: coefficients},
        }
        if self._viewers and time.monotonic() >= self._next_image:
            changes["image"] = progress.image()
            self._next_image = time.monotonic() + SECONDS
        self._change(**changes)

    def finish(self, result: TransferResult) -> None:
        """Show the end of a transfer, and its picture."""
        record = result.record
        self._change(status=record["status"], rows=record["history"], image=result.image)

    def end(self, status: str) -> None:
        """Show with which status a film ended; its last picture stays."""
        self._change(status=status)

    def close(self) -> None:
        """Send the viewers the last event, and stop the server."""
        with self._changed:
            self._change(closed=True)
            self._changed.wait_for(lambda: not self._viewers, SECONDS_TO_CLOSE)
        self.shutdown()
        self.server_close()

    def _change(self, **changes: Any) -> None:
        with self._changed:
            self._state = dataclasses.replace(self._state, **changes)
            self._changed.notify_all()

    def reply(self, request: Request) -> Reply:
        """Reply with the page or with its events, or note that the run has to stop.

        Only this page can stop the run: the request must contain the token that the events contain,
        which pages of other websites cannot read.
        """
        if request.path == "/":
            request.check_method("GET", "HEAD")
            return HTTPStatus.OK, PAGE_HEADERS, self._page
        if request.path == "/events":
            request.check_method("GET")
            return HTTPStatus.OK, EVENT_HEADERS, self._events()
        if request.path == "/stop":
            request.check_method("POST")
            if not secrets.compare_digest(request.body, self._token.encode()):
                raise RefusedError(HTTPStatus.FORBIDDEN, "only the page may stop the run")
            self.stop_asked = True
            self._change()
            return HTTPStatus.NO_CONTENT, {}, None
        raise RefusedError(HTTPStatus.NOT_FOUND, "not found")

    def _events(self) -> Generator[bytes, None, None]:
        """Yield the state as a server-sent event, and each new state, until the last one."""
        with self._changed:
            self._viewers += 1
        sent_image: object = self  # not an image
        try:
            while True:
                state = self._state
                event = _event(state) | {"token": self._token, "stopping": self.stop_asked}
                if state.image is not sent_image:
                    sent_image = state.image
                    event["picture"] = self._picture(state.image)
                yield f"retry: 2000\ndata: {json.dumps(event, allow_nan=False)}\n\n".encode()
                if state.closed:
                    return
                self._wait_for_change(state)
        finally:
            with self._changed:
                self._viewers -= 1
                self._changed.notify_all()

    def _wait_for_change(self, state: _State) -> None:
        """Wait for a new state, and at least SECONDS, unless the new state is the last one."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.closed, SECONDS)
            self._changed.wait_for(lambda: self._state is not state)

    def _picture(self, image: np.ndarray | None) -> str | None:
        """Return a picture as a data URL, which is encoded once for all viewers."""
        with self._encoding:
            if image is not self._encoded[0]:
                self._encoded = image, None if image is None else _data_url(image)
            return self._encoded[1]


def _data_url(image: np.ndarray) -> str:
    height, width, _ = image.shape
    long_side = min(LONG_SIDE, max(height, width))
    image = resize(image, *size_for_long_side(height, width, long_side))
    data = base64.b64encode(picture_io.encode_picture("preview.jpg", image)).decode()
    return f"data:image/jpeg;base64,{data}"


def _event(state: _State) -> dict[str, Any]:
    """Return what the page shows of a state, as JSON values, without the picture."""
    progress = state.progress
    return {
        "status": state.status,
        "closed": state.closed,
        "about": state.about,
        "progress": progress and {name: _rounded(value) for name, value in progress.items()},
        "curves": curves(state.rows, state.coefficients),
    }


def curves(
    rows: Sequence[HistoryRow], coefficients: Mapping[int, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Return the curves of a loss history, one dict per size.

    Args:
      rows: history of a record.
      coefficients: {size: {term: coefficient}}; a size that is missing has no terms.

    Returns:
      Per size a dict of `size`; `iterations`, counted over all sizes; `loss`; and `terms`, {term:
      coefficient · squared distance}. Of a long history about POINT_LIMIT points are returned.
      Numbers have six digits, and are None if they are not finite.
    """
    parts = []
    step = max(1, len(rows) // POINT_LIMIT)
    counted = zip(rows, running_iterations(rows), strict=True)
    for size, points in itertools.groupby(counted, key=lambda point: point[0]["size"]):
        *earlier, last = points
        thinned_points = [*earlier[::step], last]
        parts.append(
            {
                "size": size,
                "iterations": [iteration for _, iteration in thinned_points],
                "loss": [_rounded(row["loss"]) for row, _ in thinned_points],
                "terms": {
                    term: [
                        _rounded(coefficient * term_value(row, term)) for row, _ in thinned_points
                    ]
                    for term, coefficient in coefficients.get(size, {}).items()
                },
            }
        )
    return parts


def _rounded(value: float) -> float | None:
    finite = finite_or_none(value)
    return None if finite is None else float(f"{finite:.6g}")
