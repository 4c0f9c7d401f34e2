"""Official layouts of data sets on disk, tiny: a few pictures of a few pixels in every folder."""

import io
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Smooth colours that JPEG keeps well, another picture for each seed."""
    draws = np.random.default_rng(seed).integers(30, 226, (2, 3, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(draws).resize((width, height), Image.BILINEAR))


def picture(seed: int, height: int = 24, width: int = 32) -> Image.Image:
    return Image.fromarray(pixels(seed, height, width))


def encoded(image: Image.Image, format: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def write(path: Path, seed: int, **shape) -> Path:
    """A picture file in the format that its name says, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    format = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    path.write_bytes(encoded(picture(seed, **shape), format))
    return path


def write_classes(base: Path, classes, count: int = 1, name: str = "{c}_{i}.JPEG") -> Path:
    """``count`` pictures in one folder a class; all are hard links to a few files, for speed."""
    kinds = [write(base.parent / f".kinds/{k}{Path(name).suffix}", k) for k in range(3)]
    for k, c in enumerate(classes):
        (base / c).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            os.link(kinds[(k + i) % 3], base / c / name.format(c=c, i=i))
    return base


def damage(path: Path, how: str) -> Path:
    """Make a picture file unreadable: "empty", "cut" or "text"."""
    contents = path.read_bytes()
    path.unlink()  # it may be one of several links
    path.write_bytes({"empty": b"", "cut": contents[:-40],
                      "text": b"not a picture at all"}[how])
    return path


def write_imagenet(root: Path, wnids, per_class: int = 1) -> Path:
    """train/<wnid>/<wnid>_<i>.JPEG and val/<wnid>/ILSVRC2012_val_<i>.JPEG"""
    write_classes(root / "train", wnids, per_class)
    write_classes(root / "val", wnids, per_class, "ILSVRC2012_val_{c}{i:05}.JPEG")
    return root


def write_cue_conflict(root: Path, categories, textures=None, size: int = 224,
                       variants: int = 1) -> Path:
    """<shape>/<shape><i>-<texture><j>.png: 1,280 files with 16 categories and 5 variants."""
    from mae_lib.data.official.human_categories import CATEGORIES

    kinds = [write(root.parent / f".cues/{k}.png", k, height=size, width=size) for k in range(2)]
    for shape in categories:
        (root / shape).mkdir(parents=True, exist_ok=True)
        for texture in textures or CATEGORIES:
            for i in range(1, variants + 1):
                os.link(kinds[i % 2], root / shape / f"{shape}{i}-{texture}{1 + i % 3}.png")
    return root


def write_cifar(root: Path, kind) -> list[np.ndarray]:
    """The pickles of a CIFAR class of torchvision, three images in each, as Python 2 wrote them.

    The class is given their checksums. Returns the images of each file, uint8 [3,3,32,32].
    """
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    key = "fine_labels" if kind.__name__ == "CIFAR100" else "labels"
    images = []
    for k, row in enumerate(kind.train_list + kind.test_list):
        images.append(np.random.default_rng(k).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8))
        row[1] = _pickled(folder / row[0], {"data": images[-1].reshape(3, -1), key: [k, 0, 9]})
    names = {kind.meta["key"]: [f"class {k}" for k in range(10)]}
    kind.meta["md5"] = _pickled(folder / kind.meta["filename"], names)
    return images


def _pickled(file: Path, content) -> str:
    import hashlib
    import pickle

    data = pickle.dumps(content, protocol=2)
    data = data.replace(b"\x89\x88\x87", b"K\x00K\x01\x87")  # numpy.dtype("u1", 0, 1): no bools
    file.write_bytes(data)
    return hashlib.md5(data).hexdigest()


def write_stl10(root: Path, kind) -> dict[str, np.ndarray]:
    """The binary files of STL-10, three images in each split, columns first; see write_cifar."""
    import hashlib

    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    splits, files = {}, {"class_names.txt": b"\n".join(b"class %d" % k for k in range(10))}
    for k, split in enumerate(("train", "test", "unlabeled")):
        splits[split] = np.random.default_rng(k).integers(0, 256, (3, 3, 96, 96), dtype=np.uint8)
        files[f"{split}_X.bin"] = splits[split].transpose(0, 1, 3, 2).tobytes()
        files[f"{split}_y.bin"] = bytes([1, 10, 1 + k])  # labels count from 1
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for row in kind.train_list + kind.test_list:
        row[1] = hashlib.md5(files.get(row[0], b"")).hexdigest()
        (folder / row[0]).touch()
    return splits


def write_coco(root: Path, split: str = "val", categories=None) -> Path:
    """Three pictures of other shapes: two things of polygons, a crowd of run lengths, nothing."""
    sizes = [(40, 60), (48, 32), (30, 30)]
    images = [{"id": 10 * (k + 1), "file_name": f"{10 * (k + 1):012}.jpg", "height": h, "width": w}
              for k, (h, w) in enumerate(sizes)]
    for k, image in enumerate(images):
        write(root / f"{split}2017" / image["file_name"], k, height=image["height"],
              width=image["width"])
    box = [6.0, 4.0, 24.0, 20.0]  # x, y, width, height
    corners = [6.0, 4.0, 30.0, 4.0, 30.0, 24.0, 6.0, 24.0]
    triangle = [2.0, 2.0, 26.0, 2.0, 2.0, 42.0]
    crowd = {"size": [48, 32], "counts": [48 * 16, 48 * 16]}  # the right half
    things = [(10, 90, corners, box, 0), (20, 1, triangle, [2.0, 2.0, 24.0, 40.0], 0),
              (20, 1, crowd, [16.0, 0.0, 16.0, 48.0], 1)]
    annotations = [{"id": n, "image_id": image, "category_id": category, "bbox": bounds,
                    "area": bounds[2] * bounds[3], "iscrowd": many,
                    "segmentation": shape if many else [shape]}
                   for n, (image, category, shape, bounds, many) in enumerate(things, start=1)]
    file = root / "annotations" / f"instances_{split}2017.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    named = [{"id": i, "name": f"thing {i}"} for i in categories or coco_ids()]
    file.write_text(json.dumps({"info": {}, "images": images, "categories": named,
                                "annotations": annotations}))
    return root


def coco_ids() -> list[int]:
    """COCO's 80 category ids: 1 to 90 without ten."""
    return [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
