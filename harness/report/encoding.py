"""Figures as files. A picture is encoded outside Python, so that the next one is drawn meanwhile."""

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

COLOURS, EFFORT = 64, 20  # of a picture in a page: at 80 of 100, it is a sixth smaller and takes twice as long
LARGEST = 16_383  # pixels: the most that a WebP has on a side
OPAQUE = 255


def png(figure: "Figure") -> bytes:
    """The figure as a file."""
    return pngs({"": figure})[""]


def pngs(figures: "Mapping[str, Figure]") -> dict[str, bytes]:
    """Each figure as a file; packed quickly rather than tightly, a sixth larger."""
    with ThreadPoolExecutor() as pool:
        files = {name: pool.submit(_packed, _drawn(figure), figure.dpi) for name, figure in figures.items()}
        return {name: file.result() for name, file in files.items()}


def save(figures: "Mapping[str, Figure]", folder: Path) -> None:
    """Write each figure to NAME.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pngs(figures).items():
        (folder / f"{name}.png").write_bytes(picture)


def shrunk(picture: bytes, pixels: int) -> bytes:
    """A PNG so many pixels wide, or as it is if it is narrower."""
    from PIL import Image

    stream, image = io.BytesIO(), Image.open(io.BytesIO(picture))
    image.thumbnail((pixels, image.height), Image.Resampling.LANCZOS)
    image.save(stream, "png")
    return stream.getvalue()


def webps(pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    """Each PNG as a WebP of a fifth of its bytes: few colours, and these without loss."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(pictures, pool.map(_webp, pictures.values()), strict=True))


def _drawn(figure: "Figure") -> "Image":
    """Its pixels, which no setting of matplotlib for files changes; where the figure is shown, it stays shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    shown_in = figure.canvas
    canvas = FigureCanvasAgg(figure)
    try:
        canvas.draw()
    finally:
        figure.set_canvas(shown_in)
    return Image.fromarray(np.asarray(canvas.buffer_rgba()))


def _packed(image: "Image", dpi: float) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "png", compress_level=1, dpi=(dpi, dpi))
    return stream.getvalue()


def _webp(picture: bytes) -> bytes:
    from PIL import Image, WebPImagePlugin  # noqa: F401 - or else all of Pillow's formats are imported for this one

    stream, image = io.BytesIO(), Image.open(io.BytesIO(picture)).convert("RGBA")
    image.thumbnail((LARGEST, LARGEST))
    if image.getextrema()[3][0] < OPAQUE:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    few = image.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE).convert("RGB")
    few.save(stream, "webp", lossless=True, method=2, quality=EFFORT)
    return stream.getvalue()
