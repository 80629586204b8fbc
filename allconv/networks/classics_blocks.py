"""The blocks of `classics`: what each kind of row is made of, one function a kind.

Each takes a map `(n, height, width, channels)`, the row, the name that its layers begin
with, and `Convolutions` to make them by.
"""

from keras import layers, ops

from allconv.networks import classics_rows


def conv(x, row, label, make):
    weigh = make.weigh if row.bare else make.convolve
    settings = {"iterations": row.iterations, "freeze_after": row.freeze_after}
    return weigh(x, label, row.filters, row.kernel, row.stride, **settings)


def pool(x, row, label, make):
    if row.kernel > 2:  # of rectified values, of which 0 is the least
        x = layers.ZeroPadding2D(row.kernel // 2, name=f"{label}_pad")(x)
    return layers.MaxPooling2D(row.kernel, 2, name=label)(x)


def residual(x, row, label, make):
    around, filters, stride = x, row.filters, row.stride
    if stride > 1 or x.shape[-1] != filters:
        around = make.convolve(x, f"{label}_shortcut", filters, 1, stride, relu=False)
    x = make.convolve(x, f"{label}_conv1", filters, 3, stride)
    x = make.convolve(x, f"{label}_conv2", filters, 3, relu=False)
    x = layers.Add(name=f"{label}_add")([x, around])
    return layers.ReLU(name=f"{label}_relu")(x)


def pre_activated(x, row, label, make):
    around, filters, stride = x, row.filters, row.stride
    x = make.normalise(x, f"{label}_conv1")
    if stride > 1 or x.shape[-1] != filters:
        around = make.weigh(x, f"{label}_shortcut", filters, 1, stride)
    x = make.weigh(x, f"{label}_conv1", filters, 3, stride)
    x = make.normalise(x, f"{label}_conv2")
    x = make.weigh(x, f"{label}_conv2", filters, 3)
    if row.squeeze:
        x = _scale(x, row.squeeze, label, make)
    return layers.Add(name=f"{label}_add")([x, around])


def _scale(x, squeeze, label, make):
    """Each map times a number from 0 to 1, which two layers find by all means."""
    channels = x.shape[-1]
    w = layers.GlobalAveragePooling2D(keepdims=True, name=f"{label}_means")(x)
    few = channels // squeeze
    w = make.weigh(w, f"{label}_squeeze", few, activation="relu", use_bias=True)
    w = make.weigh(w, f"{label}_excite", channels, activation="sigmoid", use_bias=True)
    return layers.Multiply(name=f"{label}_scale")([x, w])


def inverted(x, row, label, make):
    around, channels, stride = x, x.shape[-1], row.stride
    wide, thin = row.expansion * channels, {"block": channels, "iterations": 1}
    x = make.convolve(x, f"{label}_expand", wide)
    one = {"groups": wide, "iterations": 1}
    x = make.convolve(x, f"{label}_depthwise", wide, 3, stride, **one)
    x = make.convolve(x, f"{label}_project", row.filters, relu=False, **thin)
    if stride > 1:
        return x
    if channels != row.filters:
        around = make.convolve(around, f"{label}_shortcut", row.filters, relu=False)
    return layers.Add(name=f"{label}_add")([x, around])


def scaled(x, row, label, make):
    make = make.without_whitening()
    around, channels, stride = x, x.shape[-1], row.stride
    wide = row.expansion * channels
    x = make.convolve(x, f"{label}_expand", wide)
    x = make.convolve(x, f"{label}_depthwise", wide, 3, stride, groups=wide)
    x = make.convolve(x, f"{label}_project", row.filters, relu=False)
    if stride > 1:
        around = x
    elif channels != row.filters:
        around = make.convolve(around, f"{label}_shortcut", row.filters, relu=False)
    x = _scale(x, row.squeeze, label, make)
    return layers.Add(name=f"{label}_add")([x, around])


def grouped(x, row, label, make):
    around, filters, stride = x, 2 * row.filters, row.stride
    if stride > 1 or x.shape[-1] != filters:
        around = make.convolve(x, f"{label}_shortcut", filters, 1, stride, relu=False)
    x = make.convolve(x, f"{label}_conv1", row.filters)
    settings = {"groups": row.groups, "iterations": 3}
    x = make.convolve(x, f"{label}_conv2", row.filters, 3, stride, **settings)
    x = make.convolve(x, f"{label}_conv3", filters, relu=False)
    x = layers.Add(name=f"{label}_add")([x, around])
    return layers.ReLU(name=f"{label}_relu")(x)


def dual_path(x, row, label, make):
    around, width, stride = x, row.width, row.stride
    both = row.filters + row.growth
    if row.first:
        around = make.convolve(x, f"{label}_shortcut", both, 1, stride, relu=False)
    x = make.convolve(x, f"{label}_conv1", width)
    x = make.convolve(x, f"{label}_conv2", width, 3, stride, groups=row.groups)
    x = make.convolve(x, f"{label}_conv3", both, relu=False)
    added, new = ops.split(x, [row.filters], axis=-1)
    held, old = ops.split(around, [row.filters], axis=-1)
    added = layers.Add(name=f"{label}_add")([added, held])
    x = layers.Concatenate(name=f"{label}_append")([added, old, new])
    return layers.ReLU(name=f"{label}_relu")(x)


def appended(x, row, label, make):
    new = make.normalise(x, f"{label}_conv1")
    new = make.weigh(new, f"{label}_conv1", 4 * row.growth)
    new = make.normalise(new, f"{label}_conv2")
    new = make.weigh(new, f"{label}_conv2", row.growth, 3)
    return layers.Concatenate(name=f"{label}_append")([new, x])


def transition(x, row, label, make):
    x = make.normalise(x, f"{label}_conv")
    x = make.weigh(x, f"{label}_conv", x.shape[-1] // 2)
    return layers.AveragePooling2D(2, name=f"{label}_pool")(x)


def cell(x, row, label, make):
    filters, stride, channels = row.filters, row.stride, x.shape[-1]
    y = layers.ZeroPadding2D(1, name=f"{label}_pad")(x)  # `x` is rectified: 0 is least
    y = layers.MaxPooling2D(3, stride, name=f"{label}_pool")(y)
    if stride > 1:
        y = make.convolve(y, f"{label}_conv", filters, relu=False)
    depthwise = {"groups": channels, "relu": False}
    x = make.convolve(x, f"{label}_depthwise", filters, 7, stride, **depthwise)
    x = layers.Add(name=f"{label}_add")([x, y])
    return layers.ReLU(name=f"{label}_relu")(x)


LAYERS = {
    classics_rows.Conv: conv,
    classics_rows.Pool: pool,
    classics_rows.Residual: residual,
    classics_rows.PreActivated: pre_activated,
    classics_rows.Inverted: inverted,
    classics_rows.Scaled: scaled,
    classics_rows.Grouped: grouped,
    classics_rows.DualPath: dual_path,
    classics_rows.Appended: appended,
    classics_rows.Transition: transition,
    classics_rows.Cell: cell,
}
