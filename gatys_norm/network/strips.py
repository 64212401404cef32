"""The whole network on a few rows at a time, one block after another.

Of the features of a picture only those are kept that a block takes in: 3 values per pixel for the
first block, and 16, 8, 4 and 2 for the others. A *strip* is a few rows of one block's map. Strip
after strip, a block computes its features from what it takes in, adds up their values (Gram
matrices and squared distances are sums over positions), and hands on the pooled rows. For the
gradient the blocks follow from the last to the first: each computes the features of a strip once
more, and from the gradients of their values and of the pooled rows that of the rows taken in.

Convolutions are so computed once more than without strips, and nothing is approximated: the rows of
a strip are computed together with those around them that they depend on. Of the last blocks, whose
maps are small, more can be kept, so that their gradients need no second computation.

What is kept lies in a `Workspace`, and the gradient of what a block takes in replaces it there, row
by row. This runs operation by operation, with one graph per strip, so that other arrays are freed
as soon as they are not needed, and a long evaluation can show how far it is, and be stopped.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from gatys_norm.config import BORDERS
from gatys_norm.network.memory import BLOCKS, Strips
from gatys_norm.network.vgg import Extractor, Step
from gatys_norm.terms import block_of, layer_of

Arrays: TypeAlias = Mapping[str, tf.Tensor]
# ({layer: the strip's rows of φ_j}, {term: the strip's rows of its array}) → {term: value}
ValuesOfStrip: TypeAlias = Callable[[Arrays, Arrays], dict[str, tf.Tensor]]

ROW_STEP = 4  # whole squares of the pooling, and whole tiles of `winograd`
# (rows handed on, {term: value}, traces)
_ForwardResult: TypeAlias = tuple[tf.Tensor | None, dict[str, tf.Tensor], list[tf.Tensor]]

# Over the convolutions: features; for the gradient, features once more (or traces), and gradients.
PASSES = 3

_on_strip: contextvars.ContextVar[Callable[[float], object] | None] = contextvars.ContextVar(
    "on_strip", default=None
)


@contextlib.contextmanager
def watched_by(on_strip: Callable[[float], object]) -> Iterator[None]:
    """Return a context in which a function is called before each strip.

    Args:
      on_strip: called with the share of an evaluation, 0 to 1, that is done. If it raises an error,
        the evaluation ends with that error.
    """
    token = _on_strip.set(on_strip)
    try:
        yield
    finally:
        _on_strip.reset(token)


def compute(
    extractor: Extractor,
    image: tf.Tensor,
    values_of: ValuesOfStrip,
    arrays: Arrays,
    strips: Strips,
    depth: int,
    joined: Collection[str] = (),
    workspace: Workspace | None = None,
) -> dict[str, tf.Tensor]:
    """Compute values of the features of a picture; differentiable, but not within a graph.

    Args:
      extractor: φ.
      image: H × W × 3, RGB, 0–255.
      values_of: function from the features of a strip to its values; the values of all strips are
        added up. The same object should be given again, as its graphs are kept with it.
      arrays: {term: array with the height H_j of its layer} that `values_of` needs too, such as
        masks; it is given the strip's rows.
      strips: how many rows of a map a strip should have at most, and of how many blocks more is
        kept.
      depth: number of the deepest block whose features `values_of` needs.
      joined: terms whose values are rows, as many as the strip has, which are put one below the
        other instead of being added up.
      workspace: used until the gradient is computed; without it there is one for this call.

    Returns:
      {term: value}.
    """
    blocks = _blocks(extractor, image, values_of, arrays, strips, depth, frozenset(joined))
    memory = Workspace() if workspace is None else workspace
    unused: list[_Work] = []  # whose features the workspace holds

    @tf.custom_gradient
    def run(image: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., tf.Tensor]]:
        work = _Work(blocks)
        image = tf.stop_gradient(image)  # or a tape would also record, and keep, what is inside
        parts = _forward(blocks, image, memory, work)
        unused.append(work)

        def gradient(*upstream: tf.Tensor) -> tf.Tensor:
            if not unused:  # They serve one gradient, which replaces them; compute them again.
                unused.append(_Work(blocks))
                _forward(blocks, image, memory, unused[0])
            by_term = dict(zip(names, upstream, strict=True))
            return _backward(blocks, image, memory, unused.pop(), by_term)

        values = {
            term: tf.concat(values, axis=0) if term in joined else tf.add_n(values)
            for term, values in parts.items()
        }
        names[:] = values
        return list(values.values()), gradient

    names: list[str] = []
    values = run(image)
    return dict(zip(names, values, strict=True))


class Workspace:
    """The arrays that evaluations in strips keep, for one evaluation after another.

    They are the largest arrays there are. Taken once, they always find their place; taken anew by
    every evaluation, they would leave gaps between them that nothing else fits into.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[int, ...], tf.Tensor] = {}

    def taken_in(self, block: int) -> tf.Tensor:
        """Return what a block takes in, or its gradient."""
        return self._arrays[(block,)]

    def traces(self, block: int) -> list[tf.Tensor]:
        """Return the traces of a block, none if they are not kept."""
        return [array for key, array in self._arrays.items() if key[0] == block and len(key) > 1]

    def keep_taken_in(self, block: int, height: int, row: int, values: tf.Tensor) -> None:
        """Keep rows, from `row` on, of the `height` rows that a block takes in."""
        self._keep((block,), height, row, values)

    def keep_traces(self, block: int, height: int, row: int, values: Sequence[tf.Tensor]) -> None:
        """Keep rows of each trace of a block."""
        for index, rows in enumerate(values):
            self._keep((block, index), height, row, rows)

    def _keep(self, key: tuple[int, ...], height: int, row: int, values: tf.Tensor) -> None:
        array, shape = self._arrays.get(key), [height, *values.shape[1:]]
        if array is None or array.shape != shape or array.dtype != values.dtype:
            self._arrays.pop(key, None)
            self._arrays[key] = array = _uninitialized(shape, values.dtype)
        _overwrite(array, row, values)


def _uninitialized(shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    return tf.raw_ops.Empty(shape=shape, dtype=dtype)


def _overwrite(array: tf.Tensor, row: int, values: tf.Tensor) -> None:
    """Write rows into an array, from a row on, in place."""
    rows = list(range(row, row + values.shape[0]))
    tf.raw_ops.InplaceUpdate(x=array, i=rows, v=values)


class _Strip(NamedTuple):
    """Rows `start` to `stop` of a block's map, computed from rows `first` to `last`.

    Where the map is wrapped, rows before its first one are its last ones, and the other way round.
    """

    start: int
    stop: int
    first: int
    last: int


class _Block(NamedTuple):
    """A block of the network for a picture of a certain size.

    Attributes:
      number: 1 to 5.
      height: of its map.
      strips: of its map, from top to bottom.
      work: multiplications for a row of its map.
      arrays: those of its terms.
      joined: see `compute`.
      keeps_traces: whether what its gradient needs is kept, and not computed once more.
      forward: (rows taken in, rows of the arrays, `start` − `first`, `stop` − `start`) →
        (rows handed on, or None by the network's last block; {term: value}; traces).
      backward: the same arguments, rows of the traces (or none), the gradient of the rows handed on
        (or None), and {term: gradient of the value} → gradient of the rows taken in.
    """

    number: int
    height: int
    strips: list[_Strip]
    work: int
    arrays: Arrays
    joined: frozenset[str]
    keeps_traces: bool
    forward: Callable[..., _ForwardResult]
    backward: Callable[..., tf.Tensor]

    def overhang(self, strip: _Strip) -> tuple[int, int]:
        """Return how many of a strip's rows lie before the map's first row, and after its last."""
        return max(0, -strip.first), max(0, strip.last - self.height)

    def arrays_of(self, strip: _Strip) -> dict[str, tf.Tensor]:
        """Return the strip's rows of the arrays."""
        return {term: array[strip.start : strip.stop] for term, array in self.arrays.items()}

    def upstream_of(self, strip: _Strip, upstream: Arrays) -> dict[str, tf.Tensor]:
        """Return the gradients of the strip's values."""
        return {
            term: gradient[strip.start : strip.stop] if term in self.joined else gradient
            for term, gradient in upstream.items()
            if block_of(layer_of(term)) == self.number
        }


class _Work:
    """Counts the work done, and tells the function of `watched_by`."""

    def __init__(self, blocks: Sequence[_Block]) -> None:
        self._all = sum(
            (PASSES - block.keeps_traces) * block.work * block.height for block in blocks
        )
        self._done = 0

    def add(self, block: _Block, strip: _Strip, passes: int) -> None:
        """Note that a strip begins."""
        on_strip = _on_strip.get()
        if on_strip is not None:
            on_strip(self._done / self._all)
        self._done += passes * block.work * (strip.stop - strip.start)


def _forward(
    blocks: Sequence[_Block], image: tf.Tensor, workspace: Workspace, work: _Work
) -> dict[str, list[tf.Tensor]]:
    """Return {term: values of its strips}; the workspace then holds what the gradient needs."""
    values: dict[str, list[tf.Tensor]] = {}
    taken_in = image
    for block in blocks:
        for strip in block.strips:
            work.add(block, strip, passes=1)
            rows = _rows(taken_in, strip, taken_in)
            crop = strip.start - strip.first, strip.stop - strip.start
            output, values_of_strip, traces = block.forward(rows, block.arrays_of(strip), *crop)
            if output is not None:
                row = strip.start // 2
                workspace.keep_taken_in(block.number + 1, block.height // 2, row, output)
            workspace.keep_traces(block.number, block.height, strip.start, traces)
            for term, value in values_of_strip.items():
                values.setdefault(term, []).append(value)
        if block is not blocks[-1]:
            taken_in = workspace.taken_in(block.number + 1)
    return values


def _backward(
    blocks: Sequence[_Block],
    image: tf.Tensor,
    workspace: Workspace,
    work: _Work,
    upstream: Arrays,
) -> tf.Tensor:
    """Return the gradient of the image; what the workspace holds is used up."""
    above: tf.Tensor | None = None
    for block in reversed(blocks):
        is_first = block is blocks[0]
        taken_in = image if is_first else workspace.taken_in(block.number)
        gradient = _uninitialized(image.shape, image.dtype) if is_first else taken_in
        traces = workspace.traces(block.number) if block.keeps_traces else []
        _write_gradient(block, taken_in, traces, above, upstream, work, gradient)
        above = gradient
    return above


def _write_gradient(
    block: _Block,
    taken_in: tf.Tensor,
    traces: Sequence[tf.Tensor],
    above: tf.Tensor | None,
    upstream: Arrays,
    work: _Work,
    gradient: tf.Tensor,
) -> None:
    """Compute the gradient of what a block takes in, strip by strip.

    Neighboring strips overlap in the rows that both depend on, where their gradients are added up.
    So do the first and the last one where the map is wrapped.

    Args:
      block: the block.
      taken_in: what it takes in; if traces are kept, its values do not matter.
      traces: of the block, or none.
      above: gradient of what it hands on; None for the last block.
      upstream: {term: gradient of its value}.
      work: told of every strip.
      gradient: array that the result is written to. It may be `taken_in`, of which no row is
        written before the last strip that needs it.
    """
    carried: tf.Tensor | None = None
    around: list[tuple[int, tf.Tensor]] = []
    # A copy, because these rows are overwritten before the last strip needs them.
    top = tf.raw_ops.DeepCopy(x=taken_in[: max(block.overhang(strip)[1] for strip in block.strips)])
    for strip, following in itertools.zip_longest(block.strips, block.strips[1:]):
        work.add(block, strip, passes=1 if block.keeps_traces else 2)
        of_strip = block.backward(
            _rows(taken_in, strip, top),
            block.arrays_of(strip),
            strip.start - strip.first,
            strip.stop - strip.start,
            [_rows(trace, strip, trace) for trace in traces],
            None if above is None else above[strip.start // 2 : strip.stop // 2],
            block.upstream_of(strip, upstream),
        )
        of_strip = _without_overhang(block, strip, of_strip, around)
        if carried is not None:
            overlap = carried.shape[0]
            of_strip = tf.concat([of_strip[:overlap] + carried, of_strip[overlap:]], axis=0)
        first = max(0, strip.first)
        end = of_strip.shape[0] if following is None else following.first - first
        _overwrite(gradient, first, of_strip[:end])
        carried = of_strip[end:]
    for row, rows in around:
        _overwrite(gradient, row, gradient[row : row + rows.shape[0]] + rows)


def _without_overhang(
    block: _Block, strip: _Strip, of_strip: tf.Tensor, around: list[tuple[int, tf.Tensor]]
) -> tf.Tensor:
    """Return the gradients of a strip's rows within the map; note the others in `around`.

    Args:
      block: the block.
      strip: the strip.
      of_strip: gradients of the rows that it is computed from.
      around: (row of the map, gradients of it and following rows) is added for each edge.
    """
    before, after = block.overhang(strip)
    end = of_strip.shape[0] - after
    if before:
        around.append((block.height - before, of_strip[:before]))
    if after:
        around.append((0, of_strip[end:]))
    return of_strip[before:end]


def _rows(array: tf.Tensor, strip: _Strip, top: tf.Tensor) -> tf.Tensor:
    """Return the rows that a strip is computed from.

    Args:
      array: with the height of the strip's map.
      strip: the strip.
      top: the first rows of the array, which follow after its last one.
    """
    height = array.shape[0]
    if strip.first >= 0 and strip.last <= height:
        return array[strip.first : strip.last]
    above = array[strip.first :] if strip.first < 0 else array[:0]
    inside = array[max(0, strip.first) : strip.last]
    return tf.concat([above, inside, top[: max(0, strip.last - height)]], axis=0)


def _blocks(
    extractor: Extractor,
    image: tf.Tensor,
    values_of: ValuesOfStrip,
    arrays: Arrays,
    strips: Strips,
    depth: int,
    joined: frozenset[str],
) -> list[_Block]:
    height, width = image.shape[:2]
    is_wrapped = 0 in BORDERS[extractor.border]
    blocks = []
    for index, steps in enumerate(extractor.blocks[:depth]):
        arrays_of_block = {
            term: array for term, array in arrays.items() if block_of(layer_of(term)) == index + 1
        }
        convolutions = [step for step in steps if step[1] is not None]
        keeps_traces = index >= BLOCKS - strips.kept
        forward, backward = _compiled(extractor, index, values_of, keeps_traces)
        blocks.append(
            _Block(
                index + 1,
                height >> index,
                _strips(height >> index, strips.rows, len(convolutions), is_wrapped),
                (width >> index) * _multiplications(convolutions),
                arrays_of_block,
                joined,
                keeps_traces,
                forward,
                backward,
            )
        )
    return blocks


def _strips(height: int, rows: int, reach: int, is_wrapped: bool = False) -> list[_Strip]:
    """Divide a map into strips of nearly equal heights, multiples of `ROW_STEP` but for the last.

    Args:
      height: of the map.
      rows: that a strip should have at most; the last one can have half as many more.
      reach: rows above and below a strip that its features depend on.
      is_wrapped: whether the last row is above the first one, and the first below the last.
    """
    count = math.ceil(height / rows)
    step = ROW_STEP * math.ceil(height / count / ROW_STEP)
    starts = [0, *(start for start in range(step, height, step) if height - start >= step // 2)]
    if len(starts) == 1:  # its own edges are those that meet
        return [_Strip(0, height, 0, height)]
    least, most = (-reach, height + reach) if is_wrapped else (0, height)
    return [
        _Strip(start, stop, max(least, start - reach), min(most, stop + reach))
        for start, stop in zip(starts, [*starts[1:], height], strict=True)
    ]


def _multiplications(convolutions: Sequence[Step]) -> int:
    """Return those of 3 × 3 convolutions, for each position."""
    channels = [bias.shape[0] for _, _, bias in convolutions]
    return 9 * sum(map(math.prod, zip([channels[0], *channels], channels, strict=False)))


@functools.lru_cache(maxsize=64)
def _compiled(
    extractor: Extractor, index: int, values_of: ValuesOfStrip, keeps_traces: bool
) -> tuple[Callable[..., _ForwardResult], Callable[..., tf.Tensor]]:
    """Return `_Block.forward` and `_Block.backward` of a block, compiled."""

    def forward(rows: tf.Tensor, arrays: Arrays, top: int, count: int) -> _ForwardResult:
        features, output, traces = extractor.run_block(index, rows, slice(top, top + count))
        return output, values_of(features, arrays), traces if keeps_traces else []

    def backward(
        rows: tf.Tensor,
        arrays: Arrays,
        top: int,
        count: int,
        traces: Sequence[tf.Tensor],
        above: tf.Tensor | None,
        upstream: Arrays,
    ) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(rows)
            features, output, _ = extractor.run_block(index, rows, slice(top, top + count), traces)
            values = values_of(features, arrays)
        results = list(values.values())
        gradients = [upstream[term] for term in values]
        if above is not None:
            results.append(output)
            gradients.append(above)
        return tape.gradient(results, rows, gradients)

    return tf.function(forward, autograph=False), tf.function(backward, autograph=False)
