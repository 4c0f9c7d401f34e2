"""The painter: primitives over a landscape, with anti-aliased outlines.

All arithmetic is float64 +, -, *, /, square root, floor and comparison, in a fixed order and
without fused or reassociated operations, so IEEE 754 alone settles every byte: the same on any
machine and in any batch. The sine is a polynomial of our own, for libm differs between machines.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Columns of a primitive (float64, image coordinates, half a side = 1):
# centre 0:2, local-from-image matrix 2:6, gauge weights 6:9, taper 9, colour 10:13,
# texture colour 13:16, texture amount 16, light in local axes 17:19, half extents 19:21.
PRIMITIVE = 21
# Columns of an object's texture: object-from-image matrix 0:4, centre 4:6, pattern 6:13,
# frequency 13, phases 14:16.
TEXTURE = 16
# Columns of a backdrop: sky top 0:3, sky bottom 3:6, ground 6:9, horizon 9, hill height, frequency,
# phase 10:13, ground waves 13:17, ground contrast 17, scroll 18.
BACKDROP = 19
RIM, RIM_DEPTH, SHADE = 1.6, 0.55, 0.22  # pixels, share of light lost at the edge, slope of light


def _jit(function):
    """Compile and cache; where no folder can be written, compile anew in each process."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


def sine(x):
    """sin(2 pi x) for turns x, scalar or array; error below 1e-9, plain arithmetic only."""
    r = x - np.floor(x + 0.5)  # [-1/2, 1/2)
    y = 6.283185307179586 * (0.25 - abs(abs(r) - 0.25))  # folded to [0, pi/2]
    s = y * y
    p = -7.647163731819816e-13 * s + 1.605904383682161e-10
    p = p * s - 2.505210838544172e-08
    p = p * s + 2.755731922398589e-06
    p = p * s - 1.984126984126984e-04
    p = p * s + 8.333333333333333e-03
    p = p * s - 1.666666666666667e-01
    return np.copysign(y * (p * s + 1.0), r)


def cosine(x):
    """cos(2 pi x) for turns x."""
    return sine(x + 0.25)


_sine = _jit(sine)
RADIAN = 0.15915494309189535  # in turns


@_jit
def _clamp(x):
    return min(max(x, 0.0), 1.0)


@_jit
def _backdrop(row, canvas):
    """Sky gradient, a sine for the hills, ground with a faint weave."""
    size = canvas.shape[1]
    for j in range(size):
        u = (2 * j + 1) / size - 1.0 + row[18]
        ridge = row[9] + row[10] * _sine(RADIAN * row[11] * u + row[12])
        for i in range(size):
            v = (2 * i + 1) / size - 1.0
            ground = _clamp(0.5 + (v - ridge) * size * 0.5)
            t = _clamp((v + 1.0) / (row[9] + 1.0))
            grain = 1.0
            if ground > 0.0:
                weave = _sine(RADIAN * (row[13] * u + row[14] * v))
                weave = weave * _sine(RADIAN * (row[15] * u + row[16] * v))
                grain = (1.0 + row[17] * weave) * (1.05 - 0.3 * (v - row[9]))
            for c in range(3):
                sky = row[c] + (row[3 + c] - row[c]) * t
                canvas[c, i, j] = sky + (row[6 + c] * grain - sky) * ground


@_jit
def _pattern(tex, u, v):
    """Share of the texture colour, in [0, 1], at image coordinates (u, v)."""
    du, dv = u - tex[4], v - tex[5]
    x, y = tex[0] * du + tex[1] * dv, tex[2] * du + tex[3] * dv
    along = tex[6] * x + tex[7] * y + tex[8] * np.sqrt(x * x + y * y)
    if tex[9] != 0.0:
        along += tex[9] * _sine(RADIAN * 6.0 * (tex[7] * x + tex[6] * y))
    wave = _sine(RADIAN * tex[13] * along + tex[14])
    if tex[12] != 0.0:
        second = _sine(RADIAN * tex[13] * (tex[10] * x + tex[11] * y) + tex[15])
        wave = wave * (1.0 - tex[12] + tex[12] * second)
    return _clamp(0.5 + 2.5 * wave)


@_jit
def _distance(prim, x, y, half):
    """Signed distance to the outline in pixels, first order: F / |gradient F|.

    With k = 1 + taper * clamp(y) the outline gauge(x / k, y) = 1 is also the zero set of
    F = gauge(x, k y) - k, whose gradient stays moderate where a taper comes to a point.
    """
    inside = 1.0 if -1.0 < y < 1.0 else 0.0
    k = 1.0 + prim[9] * min(max(y, -1.0), 1.0)
    w = y * k
    ax, aw, r = abs(x), abs(w), np.sqrt(x * x + w * w) + 1e-12
    wide = prim[8] if ax > aw else 0.0
    value = prim[6] * (ax + aw) + prim[7] * r + prim[8] * max(ax, aw) - k
    gx = np.copysign(prim[6] + wide, x) + prim[7] * x / r
    gy = np.copysign(prim[6] + prim[8] - wide, w) + prim[7] * w / r
    gy = gy * (k + prim[9] * y * inside) - prim[9] * inside
    p, q = gx * prim[2] + gy * prim[4], gx * prim[3] + gy * prim[5]
    return value * half / (np.sqrt(p * p + q * q) + 1e-12)


@_jit
def _span(centre, reach, size):
    """Pixel rows or columns that a primitive may touch."""
    half = 0.5 * size
    low = max(int(np.floor((centre - reach + 1.0) * half - 2.0)), 0)
    return low, min(int(np.floor((centre + reach + 1.0) * half + 3.0)), size)


@_jit
def _primitive(prim, tex, label, canvas, ink, labels):
    """Paint one primitive; ``label`` goes where it covers at least half of a pixel."""
    size = canvas.shape[1]
    half, rim, line = 0.5 * size, max(RIM, size / 40.0), max(0.45, size / 100.0)
    per_x = half / np.sqrt(prim[2] * prim[2] + prim[3] * prim[3])  # pixels a local unit
    per_y = half / np.sqrt(prim[4] * prim[4] + prim[5] * prim[5])
    widest = 1.0 + abs(prim[9])
    top, bottom = _span(prim[1], prim[20], size)
    left, right = _span(prim[0], prim[19], size)
    for i in range(top, bottom):
        v = (2 * i + 1) / size - 1.0
        for j in range(left, right):
            u = (2 * j + 1) / size - 1.0
            x = prim[2] * (u - prim[0]) + prim[3] * (v - prim[1])
            y = prim[4] * (u - prim[0]) + prim[5] * (v - prim[1])
            beyond = max((abs(y) - 1.0) * per_y, (abs(x) - widest) * per_x)
            if beyond >= line + 0.5:
                continue
            d = max(_distance(prim, x, y, half), beyond)
            if d >= line + 0.5:
                continue
            cover = _clamp(0.5 - d)
            ink[i, j] = max(ink[i, j] * (1.0 - cover), _clamp(line + 0.5 - abs(d)))
            if cover == 0.0:
                continue
            if cover >= 0.5:
                labels[i, j] = label
            shade = 1.0 - SHADE * (x * prim[17] + y * prim[18])
            shade = shade * (1.0 - RIM_DEPTH * _clamp(1.0 + d / rim))
            amount = prim[16] * _pattern(tex, u, v) if prim[16] > 0.0 else 0.0
            for c in range(3):
                colour = prim[10 + c] + (prim[13 + c] - prim[10 + c]) * amount
                canvas[c, i, j] += (colour * shade - canvas[c, i, j]) * cover


@_jit
def paint(primitives, labels, textures, backdrops, canvas, ink, marks):
    """Paint a batch into ``canvas`` [N,3,S,S], ``ink`` and ``marks`` [N,S,S].

    ``labels`` [N,P,2]: object whose texture a primitive takes (-1: not there), and its mark.
    """
    for n in range(len(canvas)):
        _backdrop(backdrops[n], canvas[n])
        ink[n] = 0.0
        marks[n] = 0
        for p in range(labels.shape[1]):
            owner = labels[n, p, 0]
            if owner >= 0:
                mark = labels[n, p, 1]
                _primitive(primitives[n, p], textures[n, owner], mark, canvas[n], ink[n], marks[n])


@_jit
def _mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@_jit
def _bell(z):
    """Sum of the four 16-bit halves' uniforms, centred and scaled to variance 1."""
    m = np.uint64(0xFFFF)
    total = (z & m) + ((z >> np.uint64(16)) & m) + ((z >> np.uint64(32)) & m) + (z >> np.uint64(48))
    return (float(total) * 1.52587890625e-05 - 1.999969482421875) * 1.7320508075688772


@_jit
def develop(canvas, ambient, noise, keys, images):
    """Light, noise (a hash of key, channel and pixel) and rounding half up to uint8 [N,3,S,S]."""
    for n in range(len(canvas)):
        place = keys[n]
        for c in range(3):
            for i in range(canvas.shape[2]):
                for j in range(canvas.shape[3]):
                    value = canvas[n, c, i, j] * ambient[n]
                    if noise[n] > 0.0:
                        place += np.uint64(0x9E3779B97F4A7C15)
                        value += noise[n] * _bell(_mix(place))
                    images[n, c, i, j] = np.uint8(np.floor(255.0 * _clamp(value) + 0.5))
