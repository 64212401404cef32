"""Made-up runs: what was measured of them, without pictures."""

from gatys_norm.experiments.pairing import Measured

LAYERS = ("conv1_2", "conv4_4", "conv5_4")


def metrics(content=0.0, *reflections):
    """Metrics of one content layer and as many style layers as reflections are given."""
    return {
        "content_distance": {"conv4_2": content},
        "style_distance": {},
        "style_reflection": dict(zip(LAYERS, reflections, strict=False)),
    }


def sweep(exponents, contents, *reflections):
    """Return {λ_os: metrics} at 10^`exponents`; `reflections` holds a list per style layer."""
    rows = zip(exponents, contents, *reflections, strict=True)
    return {10.0**exponent: metrics(content, *values) for exponent, content, *values in rows}


def measured(tree):
    """Return the runs of {loss: {style: {what varies: value}}}."""
    return [
        Measured(loss, style, varied, value)
        for loss, styles in tree.items()
        for style, values in styles.items()
        for varied, value in values.items()
    ]


def without(tree, *names):
    """Return nested dictionaries less what these names lead to."""
    name, *inner = names
    if not inner:
        return {key: value for key, value in tree.items() if key != name}
    return tree | {name: without(tree[name], *inner)}
